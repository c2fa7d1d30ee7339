package publisher

import (
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/schema"
)

const (
	// maxReaders is how many receipts of an app are looked up at once where they are stored. Each
	// takes a consumer, and a thousand consumers is all that a stream takes, from all programs
	// together.
	maxReaders = 4

	// runLength is how many places in the stream one consumer reads, if any of them are wanted: to
	// open another takes longer.
	runLength = 256
)

// lookups are the receipts that are waited for and of which a feed knows only where they are
// stored. Thousands may be wanted at once; a few readers look them up, those that are stored close
// together with one consumer.
type lookups struct {
	wanted  run
	readers int
	trouble trouble // of all readers: they read the same stream
}

// run is who wants the receipts at some places.
type run map[uint64]map[*waiter]bool

func (r run) add(w *waiter) {
	if r[w.place] == nil {
		r[w.place] = make(map[*waiter]bool)
	}
	r[w.place][w] = true
}

// remove has w want no receipt of a place any more.
func (r run) remove(w *waiter) {
	delete(r[w.place], w)
	if len(r[w.place]) == 0 {
		delete(r, w.place)
	}
	w.place = 0
}

// lookUp has the receipt at a place read for w. The feed is locked.
func (f *feed) lookUp(w *waiter, place uint64) {
	l := &f.lookups
	if w.place == place {
		return // about to be read
	}
	l.wanted.remove(w)
	w.place = place
	l.wanted.add(w)
	if l.readers < maxReaders && f.begins(f.readPlaces) {
		l.readers++
	}
}

// readPlaces looks receipts up until none is wanted.
func (f *feed) readPlaces() {
	for {
		wanted, first, last := f.nextRun()
		if wanted == nil {
			return
		}
		got, err := f.readRun(wanted, first, last)
		if err == nil {
			f.handOut(wanted, got)
			continue
		}
		retry := time.NewTimer(f.giveBack(wanted, err))
		select {
		case <-f.life.Done():
		case <-retry.C:
		}
		retry.Stop()
	}
}

// nextRun takes what a reader can read next with one consumer, the oldest first; nil ends the
// reader.
func (f *feed) nextRun() (wanted run, first, last uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := &f.lookups
	if len(l.wanted) == 0 || f.life.Err() != nil {
		if l.readers--; l.readers == 0 {
			l.trouble = trouble{}
		}
		return nil, 0, 0
	}
	for place := range l.wanted {
		if first == 0 || place < first {
			first = place
		}
	}
	wanted = make(run)
	for place, waiters := range l.wanted {
		if place-first < runLength {
			wanted[place] = waiters
			delete(l.wanted, place)
			last = max(last, place)
		}
	}
	return wanted, first, last
}

func (f *feed) readRun(wanted run, first, last uint64) (map[uint64]schema.Receipt, error) {
	if !f.p.nc.IsConnected() {
		return nil, nats.ErrDisconnected
	}
	got := make(map[uint64]schema.Receipt)
	_, err := f.p.scan(f.life, receiptsOf(f.appID, ""), from{seq: first}, last, func(m storedReceipt) {
		if wanted[m.seq] == nil {
			return
		}
		if r, ok := readIntents(m.data); ok {
			got[m.seq] = r
		}
	})
	return got, err
}

// handOut gives what was read to those who still want it. Whoever gets nothing, since it is not
// there any more or another's, goes on waiting.
func (f *feed) handOut(wanted run, got map[uint64]schema.Receipt) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lookups.trouble = trouble{}
	for place, waiters := range wanted {
		r, ok := got[place]
		for w := range waiters {
			if w.place != place {
				continue
			}
			w.place = 0
			if ok && r.ID == w.id && w.receipt == nil && w.fits(r) {
				w.receipt = &r
				w.notify()
			}
		}
	}
}

// giveBack has what could not be read looked up again, after a while, or tells those who wait for
// it when that is of no use.
func (f *feed) giveBack(wanted run, err error) (wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := &f.lookups
	wait, report := l.trouble.add(err, f.p.timeout)
	if report {
		f.failWaiters(f.unreadable(err), func(w *waiter) bool { return w.place > 0 })
		clear(l.wanted)
		return wait
	}
	for place, waiters := range wanted {
		for w := range waiters {
			if w.place == place {
				l.wanted.add(w)
			}
		}
	}
	return wait
}
