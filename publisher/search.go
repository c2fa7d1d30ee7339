package publisher

import (
	"fmt"
	"time"
)

// ages are how far back receipts are looked for, first and then. The newest are the ones that are
// asked for most, and three days of a busy app are millions. Who waits for what it has just
// published needs the first of them.
var ages = [...]time.Duration{2 * clockSlack, 10 * time.Minute, 3 * time.Hour}

// search is a feed's look at the receipts from before it was opened. They are read once for all who
// ask, when the first does, and from then on it is known where each is stored.
type search struct {
	running bool
	depth   int       // how many of ages have been read
	first   uint64    // sequence of the first receipt that has been read
	from    time.Time // since when all have been read, on the broker's clock
	epoch   int       // rises when what is read belongs to a stream that is gone
}

// reset begins again with a new stream.
func (s *search) reset(first uint64) {
	s.depth, s.first = 0, first
	s.epoch++
}

// searchFor looks for a receipt from before, back to a time. Whether it finds one is told to w, now
// or later.
func (f *feed) searchFor(w *waiter, back time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h, ok := f.memory.recall(w.id); ok {
		f.found(w, h)
		return
	}
	w.searches, w.back = true, back
	if !f.search.running && f.search.mayHelp(w) {
		f.search.running = f.begins(f.searchPast)
	}
}

// mayHelp tells whether to read further back may find what w searches.
func (s *search) mayHelp(w *waiter) bool {
	return w.searches && s.depth < len(ages) && (s.depth == 0 || w.back.Before(s.from))
}

// found gives a receipt from before to w if it fits, or has it read where it is stored. The feed is
// locked.
func (f *feed) found(w *waiter, h heard) {
	w.searches = false
	switch {
	case h.receipt == nil:
		f.lookUp(w, h.seq)
	case w.fits(*h.receipt):
		w.receipt = h.receipt
		w.notify()
	}
}

// searchPast reads one age after the other until nobody wants to know more.
func (f *feed) searchPast() {
	var trouble trouble
	for {
		age, last, epoch, wanted := f.nextSearch()
		if !wanted {
			return
		}
		err := f.readPast(age, last, epoch)
		if err == nil {
			trouble.times = 0
			continue
		}
		wait, report := trouble.add(err, f.p.timeout)
		if report {
			f.mu.Lock()
			err = f.unreadable(fmt.Errorf("look at earlier ones: %w", err))
			f.failWaiters(err, f.search.mayHelp)
			f.mu.Unlock()
		}
		retry := time.NewTimer(wait)
		select {
		case <-f.life.Done():
		case <-retry.C:
		}
		retry.Stop()
	}
}

// nextSearch says what to read next: from what age on, and up to what sequence.
func (f *feed) nextSearch() (age time.Duration, last uint64, epoch int, wanted bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &f.search
	if s.first <= 1 {
		s.depth = len(ages) // nothing is older
	}
	if s.depth < len(ages) && f.life.Err() == nil {
		for _, waiters := range f.waiting {
			for w := range waiters {
				if s.mayHelp(w) {
					return ages[s.depth], s.first - 1, s.epoch, true
				}
			}
		}
	}
	s.running = false
	return 0, 0, 0, false
}

// readPast reads the receipts of an age up to a sequence.
func (f *feed) readPast(age time.Duration, last uint64, epoch int) error {
	f.mu.Lock()
	begin := f.brokerTime().Add(-age)
	places := newIndex()
	places.seed = f.memory.past.seed
	f.mu.Unlock()
	wanted := make(map[string]heard)
	subject := receiptsOf(f.appID, "")
	first, err := f.p.scan(f.life, subject, from{time: begin}, last, func(m storedReceipt) {
		r, ok := readIntents(m.data)
		if !ok {
			return
		}
		places.add(r.ID, m.seq)
		if f.isWanted(r.ID) {
			wanted[r.ID] = heard{&r, m.seq}
		}
	})
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.search.epoch != epoch {
		return nil // the stream is another one
	}
	f.memory.past.prepend(places)
	f.search.first, f.search.from = min(first, f.search.first), begin
	f.search.depth++
	f.answer(wanted)
	return nil
}

func (f *feed) isWanted(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.waiting[id]) > 0
}

// answer tells those who search what was found: the receipt itself when it came by while they
// waited, else where it is stored. The feed is locked.
func (f *feed) answer(wanted map[string]heard) {
	for id, waiters := range f.waiting {
		h, ok := f.memory.recall(id)
		if !ok {
			continue
		}
		if known := wanted[id]; known.seq == h.seq {
			h = known
		}
		for w := range waiters {
			if w.searches {
				f.found(w, h)
			}
		}
	}
}
