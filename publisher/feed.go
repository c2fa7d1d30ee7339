package publisher

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/schema"
)

const (
	// feedLinger is how long a feed stays open when nobody waits any more: the next to wait need
	// not open a consumer and search the past again.
	feedLinger = time.Minute

	// maxRetryWait is the longest wait before a feed that cannot read tries again.
	maxRetryWait = 2 * time.Second
)

// feed reads the receipts of one app as they are published, through one consumer, for everybody in
// a publisher who waits for some. It goes on by itself after the broker was away, and tells those
// who wait when it cannot.
type feed struct {
	p     *Publisher
	appID string
	life  context.Context
	stop  context.CancelCauseFunc
	done  chan struct{}  // closed when all has ended
	tasks sync.WaitGroup // the goroutines beside run

	users int         // who waits; guarded by the publisher's lock
	idle  *time.Timer // ends the feed when there are none; likewise

	mu      sync.Mutex
	ending  bool                // no task begins any more
	since   time.Time           // every receipt since is or will be read, on our clock
	openers map[chan error]bool // who waits for that
	reading bool
	trouble trouble
	ahead   time.Duration // how far the broker's clock is ahead of ours
	memory  memory
	search  search
	lookups lookups
	waiting map[string]map[*waiter]bool // by id
}

// trouble is a series of failures without a success between them.
type trouble struct {
	since time.Time
	err   error // the last one
	times int
}

// waiter waits for the receipt of one intent. What it has got is guarded by the feed's lock.
type waiter struct {
	id   string
	fits func(schema.Receipt) bool // is this what it waits for?

	wake    chan struct{} // there is something below
	receipt *schema.Receipt
	err     error

	place    uint64    // where a receipt is stored that is read for it now; 0: nowhere
	searches bool      // it wants to know of receipts from before the feed
	back     time.Time // up to then, on the broker's clock; zero: as far as there is one
}

func (w *waiter) notify() {
	select {
	case w.wake <- struct{}{}:
	default: // it has not looked yet
	}
}

// feed returns the feed of an app, opened or about to be. It is to be given back.
func (p *Publisher) feed(appID string) (*feed, error) {
	if err := schema.CheckToken("appid", appID); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isClosed() {
		return nil, errClosed
	}
	f := p.feeds[appID]
	if f == nil {
		f = &feed{
			p: p, appID: appID, done: make(chan struct{}), memory: newMemory(),
			openers: make(map[chan error]bool), waiting: make(map[string]map[*waiter]bool),
			lookups: lookups{wanted: make(run)},
		}
		f.life, f.stop = context.WithCancelCause(context.Background())
		f.idle = time.AfterFunc(p.linger, f.retire)
		p.feeds[appID] = f
		p.tasks.Go(f.run)
	}
	f.users++
	f.idle.Stop()
	return f, nil
}

// release gives the feed back.
func (f *feed) release() {
	f.mu.Lock()
	healthy := f.reading
	f.mu.Unlock()
	f.p.mu.Lock()
	f.users--
	if f.users == 0 && healthy {
		f.idle.Reset(f.p.linger)
	}
	f.p.mu.Unlock()
	if !healthy {
		f.retire()
	}
}

// retire ends the feed if nobody uses it.
func (f *feed) retire() {
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	if f.users == 0 {
		f.stop(context.Canceled)
		f.p.drop(f)
	}
}

// drop forgets a feed. The publisher is locked.
func (p *Publisher) drop(f *feed) {
	f.idle.Stop()
	if p.feeds[f.appID] == f {
		delete(p.feeds, f.appID)
	}
}

// ready waits until every receipt that is published from now on will be read.
func (f *feed) ready(ctx context.Context) error {
	opened := make(chan error, 1)
	f.mu.Lock()
	if f.memory.opened {
		f.mu.Unlock()
		return nil
	}
	f.openers[opened] = true
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.openers, opened)
	}()
	select {
	case err := <-opened:
		return err
	case <-f.done:
		return f.ended()
	case <-ctx.Done():
		return f.noReceipt(context.Cause(ctx))
	}
}

// run reads for as long as the feed lives, through one source after the other.
func (f *feed) run() {
	defer f.finish()
	for {
		err := f.read()
		if f.life.Err() != nil {
			return
		}
		if f.p.nc.IsClosed() {
			f.stop(nats.ErrConnectionClosed)
			return
		}
		retry := time.NewTimer(f.fail(err))
		select {
		case <-f.life.Done():
			retry.Stop()
			return
		case <-retry.C:
		}
	}
}

// begins has task run beside, unless the feed ends. The feed is locked.
func (f *feed) begins(task func()) bool {
	if f.ending {
		return false
	}
	f.tasks.Go(task)
	return true
}

func (f *feed) finish() {
	f.mu.Lock()
	f.ending = true
	f.mu.Unlock()
	f.tasks.Wait()
	f.p.mu.Lock()
	f.p.drop(f)
	f.p.mu.Unlock()
	close(f.done)
}

// read reads until something goes wrong.
func (f *feed) read() error {
	if !f.p.nc.IsConnected() {
		return nats.ErrDisconnected
	}
	f.mu.Lock()
	here := f.memory.cursor
	f.mu.Unlock()
	s, first, err := f.p.resume(f.life, receiptsOf(f.appID, ""), here, from{})
	if err != nil {
		return err
	}
	defer s.close()
	f.begin(s)
	defer f.interrupted()
	if first != nil {
		f.receive(*first)
	}
	for {
		m, err := s.next()
		if err != nil {
			return err
		}
		f.receive(m)
	}
}

func (f *feed) begin(s *source) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.memory.opened {
		f.since, f.search.first = time.Now(), s.start
	}
	f.memory.begin(s)
	f.reading, f.ahead, f.trouble = true, s.clock, trouble{}
	for opened := range f.openers {
		opened <- nil
		delete(f.openers, opened)
	}
}

func (f *feed) interrupted() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reading = false
}

// receive remembers a receipt and gives it to those who wait for it.
func (f *feed) receive(m storedReceipt) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch f.memory.see(m) {
	case seenBefore:
		return
	case seenRewound:
		f.search.reset(m.seq)
	}
	r, ok := readIntents(m.data)
	if !ok {
		return
	}
	f.memory.remember(r, m.seq)
	for w := range f.waiting[r.ID] {
		if w.fits(r) {
			w.receipt = &r
			w.notify()
		}
	}
}

// fail notes that reading ended with err, or could not begin. It tells those who wait when there is
// no hope or no end to it, and returns how long to wait before the next try.
func (f *feed) fail(err error) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	wait, report := f.trouble.add(err, f.p.timeout)
	if report {
		err = f.unreadable(err)
		for opened := range f.openers {
			opened <- err
			delete(f.openers, opened)
		}
		f.failWaiters(err, func(*waiter) bool { return true })
	}
	return wait
}

// add notes a failure: how long to wait before the next try, and whether it is time to tell of it.
func (t *trouble) add(err error, patience time.Duration) (wait time.Duration, report bool) {
	if t.times == 0 {
		t.since = time.Now()
	}
	t.err = err
	wait = min(pause<<min(t.times, 8), maxRetryWait)
	t.times++
	return jitter(wait), isPermanent(err) || time.Since(t.since) >= patience
}

// isPermanent says that an error does not pass by itself.
func isPermanent(err error) bool {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, ErrForbidden), errors.Is(err, jetstream.ErrStreamNotFound):
		return true
	case errors.As(err, &api):
		return api.Code >= 400 && api.Code < 500 && api.ErrorCode != codeTooManyRequests
	}
	return false
}

// failWaiters gives an error to those who wait. The feed is locked.
func (f *feed) failWaiters(err error, whom func(*waiter) bool) {
	for _, waiters := range f.waiting {
		for w := range waiters {
			if whom(w) {
				w.err = err
				w.notify()
			}
		}
	}
}

func (f *feed) unreadable(err error) error { return unreadable(f.appID, err) }

func unreadable(appID string, err error) error {
	text := fmt.Sprintf("receipts of app %s cannot be read: %v", appID, err)
	return &refusal{is: ErrUnreadable, cause: err, text: text}
}

// failing is why receipts cannot be read at present, nil when they can.
func (f *feed) failing() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reading {
		return nil
	}
	return f.trouble.err
}

// ended is why the feed has.
func (f *feed) ended() error {
	if why := context.Cause(f.life); !errors.Is(why, ErrClosed) {
		return f.unreadable(why)
	}
	return errClosed
}

// brokerTime is the time on the broker's clock.
func (f *feed) brokerTime() time.Time { return time.Now().Add(f.ahead) }
