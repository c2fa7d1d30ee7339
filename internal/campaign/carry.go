package campaign

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/pause"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

const (
	// batchesAhead is how many batches of a step may wait for the broker's answer. While they do,
	// the next one grows: so a broker that writes slowly gets larger batches.
	batchesAhead = 3

	// batchRows and batchBytes are how much one batch holds at most. A replicated stream proposes it
	// as a whole.
	batchRows  = 500
	batchBytes = 1 << 20

	// fullPause is between two offers to a full queue.
	fullPause = 500 * time.Millisecond

	// chunkStays is how old the rows may be that are fed. A person may be taken out of a chunk at
	// any time; until all workers feed the chunk without them, an order keeps from being sent what
	// is fed (package withdrawal). That order ends one day, a paused campaign may go on later.
	chunkStays = time.Minute

	// afterStop is how long an interrupted step waits for the answers to what it has published.
	afterStop = 3 * time.Second
)

var errFull = errors.New("the queue is full")

// Carry feeds the rows of a step. Done again, it publishes the same ids: the broker and the ledger
// recognise them. A step that was cut off is fed to its end even when the campaign is paused
// meanwhile, since a step that is chosen anew would not know how long ago its rows may have been
// fed. It implements [job.Work].
func (w *Work) Carry(ctx, begin context.Context, t job.Task) (job.Result, error) {
	f, err := w.feed(ctx, t.Order, t.Part.AppID)
	if err != nil {
		return job.Result{}, err
	}
	var s step
	if err := json.Unmarshal(t.Step.Body, &s); err != nil {
		return job.Result{}, fmt.Errorf("read a step: %w", err)
	}
	if halt := w.mayDouble(t, s); halt != "" {
		return job.Result{Halt: halt}, w.auditHalt(ctx, f, t.Order, t.Part, halt)
	}
	c := carrying{
		work: w, feed: f, task: t, at: cursorAt(s.From), slots: make(chan struct{}, batchesAhead),
		singly: t.Again,
	}
	r, err := c.run(ctx, begin, s.Rows)
	if err == nil && r.Halt != "" {
		err = w.auditHalt(ctx, f, t.Order, t.Part, r.Halt)
	}
	return r, err
}

// mayDouble says why a step that was cut off is not done again: what it has published may have been
// sent so long ago that nothing recognises it any more.
func (w *Work) mayDouble(t job.Task, s step) string {
	remembered := w.settings(t.Part.AppID).Remembered
	if !t.Again || remembered <= 0 || time.Since(s.At) < remembered {
		return ""
	}
	return fmt.Sprintf("up to %d recipients behind the %d that are done may have got their message "+
		"before: a worker was lost %s ago, and repeats are recognised for %s; resume sends to them, "+
		"maybe for the second time, cancel does not", s.Rows, t.Part.Published+t.Part.Left,
		time.Since(s.At).Round(time.Minute), remembered)
}

// carrying is one step that is carried out.
type carrying struct {
	work *Work
	feed *feed
	task job.Task
	at   cursor // the next row
	sum  job.Result

	batch []offer // not on its way yet
	bytes int     // of its packets
	slots chan struct{}
	open  sync.WaitGroup

	mu     sync.Mutex
	singly bool  // the broker takes no batches, or some of the rows may be repeats
	failed error // why the step is to be carried out again
	full   []offer
}

// offer is a message for a row, and what the step has come to before the row.
type offer struct {
	msg    *nats.Msg
	before job.Result
}

// run feeds up to n rows.
func (c *carrying) run(ctx, begin context.Context, n int) (job.Result, error) {
	stopped := begin
	if c.task.Again && c.task.Order.Want != job.WantAbort {
		begin = ctx
	}
	settle, end := context.WithCancel(ctx)
	defer end()
	over := context.AfterFunc(begin, func() { time.AfterFunc(afterStop, end) })
	defer over()
	defer c.open.Wait()
	gone := false
	for ; n > 0 && begin.Err() == nil && c.failure() == nil && !gone; n-- {
		err := c.next(ctx, begin, settle)
		if gone = errors.Is(err, ErrNoRows); err != nil && !gone {
			c.fail(err)
		}
	}
	if err := c.settle(stopped, settle); err != nil {
		return job.Result{}, err
	}
	if gone {
		c.sum.Halt = ErrNoRows.Error()
	}
	return c.sum, nil
}

// next takes the row at the cursor, unless begin ends before its turn has come.
func (c *carrying) next(ctx, begin, settle context.Context) error {
	row, err := c.row(ctx)
	if err != nil {
		return err
	}
	c.sum.Cursor = c.at.number()
	if row.OpenID == "" {
		c.sum.Left++
		c.sum.Notes.Add(noteForgotten, "")
	} else {
		if !c.task.Pace.Allow() {
			// What is there does not wait for the turn of what comes.
			if err := c.flush(settle); err != nil {
				return err
			}
			if c.task.Pace.Wait(begin) != nil {
				return nil
			}
		}
		c.batch = append(c.batch, offer{c.message(row, time.Now()), c.sum})
		c.bytes += len(row.Packet)
		c.sum.Published++
	}
	c.at.row++
	c.sum.Cursor = c.at.number()
	if len(c.batch) >= batchRows || c.bytes >= batchBytes {
		return c.flush(settle)
	}
	return nil
}

// row is the row at the cursor.
func (c *carrying) row(ctx context.Context) (chunkRow, error) {
	for {
		f := c.feed
		if f.chunk != c.at.chunk || time.Since(f.read) > chunkStays {
			rows, err := readRows(ctx, c.work.conn, c.task.Part.AppID, f.spec.Upload, c.at.chunk)
			if err != nil {
				return chunkRow{}, err
			}
			f.chunk, f.rows, f.read = c.at.chunk, rows, time.Now()
		}
		if c.at.row < len(f.rows) {
			return f.rows[c.at.row], nil
		}
		c.at = cursor{chunk: c.at.chunk + 1}
	}
}

// message is the message that feeds a row.
func (c *carrying) message(row chunkRow, now time.Time) *nats.Msg {
	spec, appID := &c.feed.spec, c.task.Part.AppID
	env := wire.Envelope{
		Envelope: schema.Envelope{
			ID: c.feed.ids(row.OpenID), Source: spec.Source, ExpiresAt: spec.ExpiresAt,
		},
		Generation: 1, Attempt: 1, PublishedAt: now, Job: c.task.Order.ID,
	}
	subject := wire.Subject{Subject: schema.BulkSubject(appID, spec.Campaign), Again: true}
	m := &nats.Msg{Subject: subject.String(), Header: env.Header(), Data: row.Packet}
	// The id that a producer would give it: a message of an earlier version is a repeat as well.
	m.Header.Set(schema.HeaderMsgID, env.ID)
	return m
}

// flush sends the batch on its way, as soon as there is room for another.
func (c *carrying) flush(settle context.Context) error {
	if len(c.batch) == 0 {
		return nil
	}
	select {
	case c.slots <- struct{}{}:
	case <-settle.Done():
		return context.Cause(settle)
	}
	batch := c.batch
	c.batch, c.bytes = nil, 0
	c.open.Go(func() {
		defer func() { <-c.slots }()
		c.offer(settle, batch)
	})
	return nil
}

// offer offers a batch to the queue until each message is answered.
func (c *carrying) offer(settle context.Context, batch []offer) {
	if len(batch) >= broker.MinBatch && !c.one() {
		msgs := make([]*nats.Msg, len(batch))
		for i, o := range batch {
			msgs[i] = o.msg
		}
		if c.work.conn.PublishBatch(settle, msgs) == nil {
			return
		}
		// One by one they are told apart: stored already, refused, or not heard of. A broker that
		// refuses one batch will hardly take the next.
		c.mu.Lock()
		c.singly = true
		c.mu.Unlock()
	}
	answered := make(chan struct{}, len(batch))
	for _, o := range batch {
		// The outbox keeps what it is given, and a full queue is offered it once more.
		msg := *o.msg
		c.work.conn.Outbox.Publish(&msg, func(_ broker.Ack, err error) {
			c.answer(o, err)
			answered <- struct{}{}
		})
	}
	for range batch {
		select {
		case <-answered:
		case <-settle.Done():
			c.fail(context.Cause(settle))
			return
		}
	}
}

// one says whether messages are published one by one.
func (c *carrying) one() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.singly
}

// answer notes the broker's answer to one message.
func (c *carrying) answer(o offer, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case broker.Full(err):
		c.full = append(c.full, o)
	case err != nil && c.failed == nil:
		c.failed = err
	}
}

// settle waits until the queue has everything. When begin ends while the queue is full, the step
// ends before the first row that it did not take. One that was cut off, or of which later rows were
// taken, is carried out once more.
func (c *carrying) settle(begin, settle context.Context) error {
	for {
		if err := c.flush(settle); err != nil {
			return err
		}
		c.open.Wait()
		c.mu.Lock()
		again, failed := c.full, c.failed
		c.full = nil
		c.mu.Unlock()
		if failed != nil || len(again) == 0 {
			return failed
		}
		if pause.For(begin, fullPause) == nil {
			c.batch = again
			continue
		}
		byRow := func(x, y offer) int { return x.before.Published - y.before.Published }
		first := slices.MinFunc(again, byRow).before
		if c.task.Again || c.sum.Published-first.Published > len(again) {
			return errFull // rows behind the first may be taken: a new step would not know since when
		}
		c.sum = first
		return nil
	}
}

func (c *carrying) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed == nil {
		c.failed = err
	}
}

func (c *carrying) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}
