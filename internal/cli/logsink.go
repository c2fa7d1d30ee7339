package cli

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// LogSink stands between a daemon's log and what reads it. A pipe that nobody empties would hold up
// whoever logs, and with it every message: lines that find no room are dropped and counted instead.
type LogSink struct {
	to      io.Writer
	lines   chan []byte
	dropped atomic.Int64
	done    chan struct{}
	unread  atomic.Bool // at the end nobody reads: nothing is written any more

	mu     sync.RWMutex // closed, against lines being closed under a write
	closed bool
}

const (
	// logRoom is a few seconds of a busy worker's lines.
	logRoom = 8192
	// lastWait is how long the end waits for a reader that may have ended: for what is left, and
	// for each line after that.
	lastWait = 2 * time.Second
)

// BufferErr has all that goes to Err from now on go through a sink, in one order. The caller closes
// it; what comes after that, such as the error that ends the command, is still written.
func (s *Streams) BufferErr() *LogSink {
	sink := newLogSink(s.Err)
	s.Err = sink
	return sink
}

// Dropped returns how many lines found no reader.
func (s *LogSink) Dropped() int64 { return s.dropped.Load() }

func newLogSink(to io.Writer) *LogSink {
	s := &LogSink{to: to, lines: make(chan []byte, logRoom), done: make(chan struct{})}
	go s.write()
	return s
}

// Write takes one line. It never blocks and never fails: there is nobody to whom a log could
// complain.
func (s *LogSink) Write(line []byte) (int, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		s.writeLast(line)
		return len(line), nil
	}
	select {
	case s.lines <- append([]byte(nil), line...): // slog uses its buffer again
	default:
		s.dropped.Add(1)
	}
	return len(line), nil
}

// writeLast writes a line after the end, such as why the process fails, but does not wait for a
// reader who has ended.
func (s *LogSink) writeLast(line []byte) {
	if s.unread.Load() {
		s.dropped.Add(1)
		return
	}
	written := make(chan struct{})
	line = append([]byte(nil), line...)
	go func() { // left to the end of the process, which is next, when nobody reads
		defer close(written)
		_, _ = s.to.Write(line)
	}()
	if !within(lastWait, written) {
		s.unread.Store(true)
		s.dropped.Add(1)
	}
}

// droppedLine is what stands in the log for the lines that are missing.
const droppedLine = `{"level":"WARN","msg":"lines of the log were dropped: nobody read them",` +
	`"dropped":%d}` + "\n"

func (s *LogSink) write() {
	defer close(s.done)
	said := int64(0)
	for line := range s.lines {
		_, _ = s.to.Write(line)
		if n := s.dropped.Load(); n > said && len(s.lines) == 0 {
			_, _ = fmt.Fprintf(s.to, droppedLine, n-said)
			said = n
		}
	}
}

// Close writes what is left. A reader that has ended does not keep the process from ending.
func (s *LogSink) Close() {
	s.mu.Lock()
	s.closed = true
	close(s.lines)
	s.mu.Unlock()
	if !within(lastWait, s.done) {
		s.unread.Store(true)
	}
}

// within waits for done, but not longer than d.
func within(d time.Duration, done <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}
