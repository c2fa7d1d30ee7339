package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// ErrAddressInUse says that another program listens where the embedded broker
// was to listen.
var ErrAddressInUse = errors.New("address already in use")

// ErrFolderInUse says that another broker keeps its files where this one was to.
var ErrFolderInUse = errors.New("another broker keeps its files there")

// EmbeddedOptions describe the broker that runs inside this process.
type EmbeddedOptions struct {
	Listen string // host:port for producers; port 0 picks a free one
	Dir    string // where streams are stored; "" makes a temporary folder that Close removes

	// SyncAlways has each write reach the disk before it is acknowledged.
	// Without it a power cut can lose what was acknowledged in the last two
	// minutes; a killed process loses nothing either way.
	SyncAlways bool

	Log *slog.Logger
}

// Embedded is a nats-server in this process. It ties the life of the queue to
// the life of the worker: right for one machine, not beyond it.
type Embedded struct {
	Server *server.Server
	Dir    string
	temp   bool
	lock   *os.File
}

// embeddedStore is more than any disk has.
const embeddedStore = 1 << 60

// StartEmbedded starts a broker and returns when it takes connections. A port
// that is taken is ErrAddressInUse, a folder ErrFolderInUse.
func StartEmbedded(o EmbeddedOptions) (*Embedded, error) {
	host, port, err := splitListen(o.Listen)
	if err != nil {
		return nil, err
	}
	e := &Embedded{Dir: o.Dir}
	if e.Dir == "" {
		if e.Dir, err = os.MkdirTemp("", "kefu-broker-"); err != nil {
			return nil, fmt.Errorf("embedded broker: %w", err)
		}
		e.temp = true
	}
	if e.lock, err = lockFolder(e.Dir); err != nil {
		e.remove()
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "kefu-embedded",
		Host:       host,
		Port:       port,
		JetStream:  true,
		StoreDir:   e.Dir,
		SyncAlways: o.SyncAlways,
		// By default it is three quarters of the free disk, and every queue's limit
		// counts against that from the start: with 4 GiB each, the fourteenth app
		// would be refused on a disk with 70 GB free.
		JetStreamMaxStore: embeddedStore,
		NoSigs:            true, // signals belong to cmd
	})
	if err != nil {
		e.remove()
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	said := &serverLog{log: o.Log}
	if said.log == nil {
		said.log = slog.New(slog.DiscardHandler)
	}
	s.SetLoggerV2(said, false, false, false)
	e.Server = s
	// reads the streams; returns when it listens, or early when it cannot go on, which it only logs
	s.Start()
	if why := said.fatal.Load(); why != nil {
		e.Close()
		return nil, fmt.Errorf("embedded broker at %s with its files in %s: %s",
			o.Listen, e.Dir, *why)
	}
	if !s.ReadyForConnections(10 * time.Second) {
		e.Close()
		return nil, fmt.Errorf("embedded broker at %s with its files in %s did not get ready",
			o.Listen, e.Dir)
	}
	return e, nil
}

// URL is where producers connect.
func (e *Embedded) URL() string { return e.Server.ClientURL() }

// Close stops the broker, and removes its folder if it was a temporary one.
func (e *Embedded) Close() {
	e.Server.Shutdown()
	e.Server.WaitForShutdown()
	e.remove()
}

func (e *Embedded) remove() {
	if e.lock != nil {
		_ = e.lock.Close()
	}
	if e.temp {
		_ = os.RemoveAll(e.Dir) // a leftover in the temporary folder hurts nobody
	}
}

// splitListen also finds out whether the address is free: the server itself
// only logs that it is not.
func splitListen(listen string) (host string, port int, err error) {
	h, p, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("embedded broker: listen address %q: want host:port", listen)
	}
	if port, err = strconv.Atoi(p); err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("embedded broker: listen address %q: the port must be 0..65535",
			listen)
	}
	if port == 0 {
		return h, server.RANDOM_PORT, nil
	}
	l, err := net.Listen("tcp", listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return "", 0, fmt.Errorf("embedded broker cannot listen at %s: %w (is another broker or "+
			"kefu running?)", listen, ErrAddressInUse)
	}
	if err != nil {
		return "", 0, fmt.Errorf("embedded broker cannot listen: %w", err)
	}
	_ = l.Close()
	return h, port, nil
}

// serverLog passes the broker's own lines on: its notices are noise for whoever
// runs kefu, its warnings and errors are not.
type serverLog struct {
	log   *slog.Logger
	fatal atomic.Pointer[string] // the first line that says why it cannot run
}

func (l *serverLog) Noticef(f string, v ...any) {
	l.log.Debug("nats-server", "said", fmt.Sprintf(f, v...))
}

func (l *serverLog) Warnf(f string, v ...any) {
	l.log.Warn("nats-server", "said", fmt.Sprintf(f, v...))
}

func (l *serverLog) Errorf(f string, v ...any) {
	l.log.Error("nats-server", "said", fmt.Sprintf(f, v...))
}

func (l *serverLog) Fatalf(f string, v ...any) {
	said := fmt.Sprintf(f, v...)
	l.fatal.CompareAndSwap(nil, &said)
	l.log.Error("nats-server", "said", said)
}

func (l *serverLog) Debugf(string, ...any) {}
func (l *serverLog) Tracef(string, ...any) {}
