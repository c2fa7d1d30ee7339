package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/config"
)

// brokerSeen is how the connection went.
type brokerSeen struct {
	address string // without a password
	server  string // its name, when there is a connection
	err     error
	errText string
}

func seeBroker(_ context.Context, s *scene) (brokerSeen, error) {
	seen := brokerSeen{address: config.RedactURL(s.Config.NATS.URL)}
	if s.Config.NATS.IsEmbedded() {
		seen.address = "the embedded broker at " + s.Config.NATS.Listen
	}
	conn, err := s.conn()
	if err != nil {
		seen.err, seen.errText = err, err.Error()
		return seen, nil
	}
	seen.server = conn.NC.ConnectedServerName()
	return seen, nil
}

func judgeBroker(b brokerSeen) []Finding {
	var fix string
	switch {
	case b.err == nil:
		return []Finding{well("%s answers", b.address)}
	case errors.Is(b.err, broker.ErrServerTooOld):
		return []Finding{bad(b.errText, "Install nats-server "+broker.MinServer+
			" or newer; a cluster one server after the other.")}
	case errors.Is(b.err, nats.ErrAuthorization), errors.Is(b.err, nats.ErrAuthExpired),
		errors.Is(b.err, nats.ErrAuthRevoked),
		strings.Contains(strings.ToLower(b.errText), "authorization violation"),
		strings.Contains(strings.ToLower(b.errText), "authentication"):
		fix = "The broker does not know this user or its password: see nats.url, " +
			"nats.creds_file and KEFU_NATS_URL."
	case isCertificate(b.err):
		fix = "Name the authority that has signed the broker's certificate in nats.tls.ca_file."
	case strings.HasPrefix(b.address, "the embedded broker"):
		fix = "kefu worker runs the embedded broker: start it, and look again."
	default:
		fix = "Start nats-server there, or correct nats.url (KEFU_NATS_URL); kefu dev runs one."
	}
	return []Finding{bad(b.errText, fix)}
}

// node is one nats-server of the broker, as a client sees it.
type node struct {
	address string
	name    string
	version string
	err     error
}

func seeServers(_ context.Context, s *scene) ([]node, error) { return s.servers() }

// askServers connects to each server that is configured, or that the first one has told of.
func (s *scene) askServers(ctx context.Context) ([]node, error) {
	conn, err := s.broker()
	if err != nil {
		return nil, err
	}
	options, err := s.brokerOptions()
	if err != nil {
		return nil, err
	}
	login := loginOf(options.URL)
	addresses := conn.NC.Servers()
	asked := make([]node, len(addresses))
	var running sync.WaitGroup
	for i, address := range addresses {
		u, err := url.Parse(address)
		if err != nil || u.Host == conn.NC.ConnectedAddr() {
			continue
		}
		if u.User == nil {
			u.User = login
		}
		to := options
		to.URL = u.String()
		running.Go(func() { asked[i] = askNode(ctx, u.Host, to) })
	}
	running.Wait()
	seen := []node{{address: conn.NC.ConnectedAddr(), name: conn.NC.ConnectedServerName(),
		version: conn.NC.ConnectedServerVersion()}}
	for _, n := range asked {
		// A server may have several addresses.
		known := slices.ContainsFunc(seen, func(s node) bool { return s.name == n.name })
		if n.err != nil || n.name != "" && !known {
			seen = append(seen, n)
		}
	}
	return seen, nil
}

// askNode connects to one server.
func askNode(ctx context.Context, address string, options broker.Options) node {
	conn, err := broker.Connect(ctx, options)
	if err != nil {
		return node{address: address, err: err}
	}
	defer conn.Close()
	return node{address: address, name: conn.NC.ConnectedServerName(),
		version: conn.NC.ConnectedServerVersion()}
}

// loginOf returns the user of the first of some addresses that has one.
func loginOf(list string) *url.Userinfo {
	for part := range strings.SplitSeq(list, ",") {
		if u, err := url.Parse(strings.TrimSpace(part)); err == nil && u.User != nil {
			return u.User
		}
	}
	return nil
}

func judgeServers(servers []node) []Finding {
	var found []Finding
	var versions []string
	for _, s := range servers {
		switch {
		case errors.Is(s.err, broker.ErrServerTooOld):
			found = append(found, bad(s.address+": "+s.err.Error(),
				"Install nats-server "+broker.MinServer+" or newer there."))
		case s.err != nil:
			found = append(found, risky("the cluster names a server at "+s.address+
				" that this machine does not reach",
				"Start it, or have it advertise an address that clients reach (client_advertise)."))
		case !slices.Contains(versions, s.version):
			versions = append(versions, s.version)
		}
	}
	return or(found, "%s, nats-server %s (needed: %s)", counted(len(servers), "server"),
		strings.Join(versions, " and "), broker.MinServer)
}

// largestMessage is the largest message of kefu's, in bytes: a part of a campaign's file.
const largestMessage = 640 << 10

func seePayload(_ context.Context, s *scene) (int64, error) {
	conn, err := s.broker()
	if err != nil {
		return 0, err
	}
	return conn.NC.MaxPayload(), nil
}

func judgePayload(most int64) []Finding {
	if most >= largestMessage {
		return []Finding{well("messages of up to %s", size(most))}
	}
	return []Finding{bad(fmt.Sprintf("the broker takes messages of up to %s only: larger packets "+
		"and parts of campaigns' files are refused", size(most)),
		"Set max_payload: 1MB, which is the default, in nats-server's configuration.")}
}

func seeAccount(_ context.Context, s *scene) (accountSeen, error) {
	if _, err := s.broker(); err != nil {
		return accountSeen{}, err
	}
	seen := accountSeen{}
	info, err := s.account()
	if isOff(err) {
		seen.off = true
		return seen, nil
	}
	if err != nil {
		return seen, err
	}
	seen.tier = tierFor(info, s.Config.NATS.Replicas)
	have, err := s.streams()
	if err != nil {
		return seen, err
	}
	for _, want := range s.wanted() {
		if have[want.Name] == nil {
			seen.missing++
			seen.newBytes += max(want.MaxBytes, 0)
		}
	}
	for _, app := range s.Apps {
		seen.consumers = max(seen.consumers, app.LiveShards+1)
	}
	return seen, nil
}

// askAccount asks how JetStream stands for this user's account.
func (s *scene) askAccount(ctx context.Context) (info *jetstream.AccountInfo, err error) {
	conn, err := s.broker()
	if err != nil {
		return nil, err
	}
	err = s.ask(ctx, []string{"$JS.API.INFO"}, func(ctx context.Context) (err error) {
		info, err = conn.JS.AccountInfo(ctx)
		return err
	})
	return info, err
}

// isOff says whether a question was not answered because JetStream is off.
func isOff(err error) bool {
	return errors.Is(err, jetstream.ErrJetStreamNotEnabled) ||
		errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) ||
		errors.Is(err, nats.ErrNoResponders)
}

// accountSeen is what an account has of JetStream, and what is still to be made in it.
type accountSeen struct {
	off       bool
	tier      jetstream.Tier
	missing   int   // streams
	newBytes  int64 // that these may take
	consumers int   // of one stream, at most
}

// tierFor returns the limits that count for so many copies.
func tierFor(info *jetstream.AccountInfo, replicas int) jetstream.Tier {
	if tier, ok := info.Tiers[fmt.Sprintf("R%d", max(replicas, 1))]; ok {
		return tier
	}
	return info.Tier
}

func judgeAccount(a accountSeen) []Finding {
	if a.off {
		return []Finding{bad("JetStream is off for this user",
			"Start nats-server with a jetstream block (deploy/nats-server.conf), "+
				"and with accounts give this one jetstream: enabled.")}
	}
	t, found := a.tier, []Finding(nil)
	stored := int64(max(t.Store, t.ReservedStore))
	left := t.Limits.MaxStore - stored
	if most := t.Limits.MaxStreams; most > 0 && most-t.Streams < a.missing {
		found = append(found, bad(fmt.Sprintf(
			"the account may have %s and has %d: kefu needs %d more",
			counted(most, "stream"), t.Streams, a.missing),
			fmt.Sprintf("Raise max_streams of the account to %d at least.", t.Streams+a.missing)))
	}
	if most := t.Limits.MaxConsumers; most > 0 && most < a.consumers {
		found = append(found, bad(fmt.Sprintf("the account allows %s, and a queue needs %d",
			counted(most, "consumer"), a.consumers),
			"Raise max_consumers of the account, or lower live_shards."))
	}
	switch most := t.Limits.MaxStore; {
	case most <= 0:
	case left < a.newBytes:
		found = append(found, bad(fmt.Sprintf("the account has %s of disk left, and queues that "+
			"are to be made may take %s", size(max(left, 0)), size(a.newBytes)),
			"Raise max_file of the account, or lower queue.bytes."))
	case left < most/10:
		found = append(found, risky(fmt.Sprintf("of the account's %s of disk %s are left",
			size(most), size(left)), "Raise max_file of the account, or lower queue.bytes."))
	}
	return or(found, "%s with %s; %s", counted(t.Streams, "stream"), size(int64(t.Store)),
		limits(t))
}

// limits says what an account may have.
func limits(t jetstream.Tier) string {
	var parts []string
	if n := t.Limits.MaxStreams; n > 0 {
		parts = append(parts, counted(n, "stream"))
	}
	if n := t.Limits.MaxStore; n > 0 {
		parts = append(parts, size(n)+" of disk")
	}
	if len(parts) == 0 {
		return "the account has no limit of its own"
	}
	return "it may have " + strings.Join(parts, " and ")
}
