package publisher

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

// progressEvery is after what time without a receipt it is told how far was read.
const progressEvery = 5 * time.Minute

// reading is a loop over the receipts of an app.
type reading struct {
	p       *Publisher
	subject string
	options ReceiptsOptions
	needles [][]byte // what stands in every receipt that is wanted
	each    func(Settled) bool
	cursor  cursor

	missed *Missed   // to be told with what comes next
	told   time.Time // when something was told last, on our clock
	mark   Position  // see quiet; none before there is one
}

func newReading(p *Publisher, appID string, o ReceiptsOptions, each func(Settled) bool) *reading {
	r := &reading{p: p, subject: receiptsOf(appID, o.State), options: o, each: each}
	for _, text := range []string{o.Campaign, o.Source} {
		if text != "" {
			quoted, _ := json.Marshal(text) // as it stands in the JSON; a string cannot fail
			r.needles = append(r.needles, quoted)
		}
	}
	return r
}

// read reads through one source until something goes wrong, or no more is wanted: then there is no
// error.
func (r *reading) read(ctx context.Context, begun func()) error {
	if !r.p.nc.IsConnected() {
		return nats.ErrDisconnected
	}
	isFirst := !r.cursor.opened
	s, first, err := r.p.resume(ctx, r.subject, r.cursor, since(r.options.Since))
	if err != nil {
		return err
	}
	defer s.close()
	r.cursor.begin(s)
	begun()
	if s.missed != nil {
		r.missed = s.missed
	}
	if s.missed != nil || isFirst && first == nil && r.options.Progress {
		r.cursor.reach(Position{s.start - 1, s.begins(first)})
		if r.options.Progress && !r.tell() {
			return nil
		}
	}
	if first != nil && !r.receive(*first) {
		return nil
	}
	return r.follow(ctx, s)
}

// follow reads what comes.
func (r *reading) follow(ctx context.Context, s *source) error {
	r.mark, r.told = Position{}, time.Now()
	for {
		m, err := r.next(s)
		var more bool
		switch {
		case errors.Is(err, errIdle):
			more = r.quiet(ctx)
		case err != nil:
			return err
		default:
			more = r.receive(m)
		}
		if !more {
			return nil
		}
	}
}

func (r *reading) next(s *source) (storedReceipt, error) {
	if !r.options.Progress {
		return s.next()
	}
	return s.nextWithin(r.p.progress)
}

// receive tells whether more is wanted.
func (r *reading) receive(m storedReceipt) bool {
	before := r.cursor.last
	switch r.cursor.see(m) {
	case seenBefore:
		return true
	case seenRewound:
		r.missed = &Missed{After: before.Time, Before: m.time}
	}
	if r.mayMatch(m.data) {
		receipt, ok := readReceipt(m.data)
		if ok && r.options.Match(receipt) {
			return r.yield(Settled{Receipt: receipt})
		}
	}
	if r.options.Progress && time.Since(r.told) >= r.p.progress {
		return r.tell()
	}
	return true
}

// mayMatch spares most receipts that are not wanted the decoding.
func (r *reading) mayMatch(data []byte) bool {
	for _, needle := range r.needles {
		if !bytes.Contains(data, needle) {
			return false
		}
	}
	return true
}

// tell yields how far was read.
func (r *reading) tell() bool { return r.yield(Settled{}) }

// yield tells whether more is wanted.
func (r *reading) yield(s Settled) bool {
	s.Position, s.Missed = r.cursor.last, r.missed
	r.missed = nil
	more := r.each(s)
	r.told = time.Now()
	return more
}

// quiet is called when no receipt has come for a while. How far the stream was when it was called
// before is as far as has been read, if nothing behind the last receipt is stored. The stream's
// nodes may be behind one another for a moment, but not for as long as that is ago.
func (r *reading) quiet(ctx context.Context) bool {
	if r.mark.Seq >= r.cursor.next && r.isRead(ctx) {
		r.cursor.reach(r.mark)
		if !r.tell() {
			return false
		}
	}
	s, err := r.p.open(ctx, r.subject, from{}, 1)
	if err != nil {
		r.mark = Position{} // the next time will do
		return true
	}
	defer s.close()
	r.mark = Position{s.start - 1, s.opened}
	return true
}

// isRead tells whether all that is stored has been read.
func (r *reading) isRead(ctx context.Context) bool {
	s, err := r.p.open(ctx, r.subject, at(r.cursor.next), 1)
	if err != nil {
		return false // the next time will do
	}
	defer s.close()
	return s.pending == 0
}
