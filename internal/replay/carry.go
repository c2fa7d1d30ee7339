package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/pause"
	"github.com/kefuhq/kefu/internal/wire"
)

const (
	maxUnsettled = 64 // letters between publish and deletion
	maxInRow     = 20 // refusals in a row that halt a job: what is wrong is not the letters

	fullPause = 500 * time.Millisecond // between two offers to a full queue

	// afterStop is how long an interrupted step waits for the answers to what it has published.
	afterStop = 3 * time.Second
)

// Carry publishes the letters of a step and takes them out of the box. It implements [job.Work].
func (w *Work) Carry(ctx, begin context.Context, t job.Task) (job.Result, error) {
	c := carrying{
		work: w, task: t, step: stepOf(t.Step), slots: make(chan struct{}, maxUnsettled),
	}
	err := json.Unmarshal(t.Order.Spec, &c.spec)
	if err != nil {
		return job.Result{}, fmt.Errorf("read the order: %w", err)
	}
	if c.session, err = w.open(ctx, t.Part.AppID, c.spec.Box); err != nil {
		return job.Result{}, err
	}
	if t.Again {
		c.doubt()
	}
	return c.run(ctx, begin)
}

// carrying is one step that is carried out.
type carrying struct {
	*session
	work  *Work
	task  job.Task
	spec  spec
	step  step
	slots chan struct{}
	open  sync.WaitGroup

	result sync.Mutex // what follows
	sum    job.Result
	inRow  int                // refusals since the last success
	stop   context.CancelFunc // nothing more is to be begun
	failed error              // why the step is to be carried out again
}

// doubt notes that the letters may have been published before.
func (c *carrying) doubt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.records.forgetQueue(c.task.Part.AppID)
	for _, l := range c.step.Letters {
		for _, own := range []bool{false, true} {
			c.records.doubtful(doubt{l.Seq, own}, c.step.At)
		}
	}
}

func (c *carrying) run(ctx, begin context.Context) (job.Result, error) {
	// What was published must be settled even when nothing more is to be begun.
	begin, c.stop = context.WithCancel(begin)
	defer c.stop()
	settle, end := context.WithCancel(ctx)
	defer end()
	over := context.AfterFunc(begin, func() { time.AfterFunc(afterStop, end) })
	defer over()

	items, held, err := c.letters(ctx)
	if err != nil {
		return job.Result{}, err
	}
	for i, l := range c.step.Letters {
		if !held[i] {
			err = c.missing(settle, l)
		} else {
			err = c.letter(begin, settle, items[i])
		}
		if err != nil {
			break
		}
	}
	c.open.Wait()
	return c.outcome(begin, err)
}

// outcome is what the step has come to. One that was not carried out to its end has published what
// it has, and the rest is chosen anew.
func (c *carrying) outcome(begin context.Context, err error) (job.Result, error) {
	c.result.Lock()
	defer c.result.Unlock()
	switch {
	case c.failed != nil:
		return job.Result{}, c.failed
	case err != nil:
		return job.Result{}, err
	case begin.Err() != nil:
		return job.Result{Published: c.sum.Published, Halt: c.sum.Halt}, nil
	}
	c.sum.Cursor, c.sum.Left = c.step.Cursor, c.sum.Left+c.step.Left
	c.sum.Notes = c.step.Notes.With(c.sum.Notes)
	return c.sum, nil
}

// letters reads the letters of the step. What was discarded since they were chosen must not be
// sent; once the step is written down, nobody discards them.
func (c *carrying) letters(ctx context.Context) ([]deadletter.Item, []bool, error) {
	seqs := make([]uint64, len(c.step.Letters))
	for i, l := range c.step.Letters {
		seqs[i] = l.Seq
	}
	items, held, err := c.work.box.Items(ctx, seqs)
	if err != nil {
		return nil, nil, err
	}
	if len(c.spec.Options.Set) > 0 {
		err = c.work.keepOriginals(ctx, c.task.Order, items, held)
	}
	return items, held, err
}

// missing counts a letter that is not in the box any more: as published when its message is known.
func (c *carrying) missing(ctx context.Context, l stepItem) error {
	if c.task.Again {
		known, err := c.wasPublished(ctx, l)
		if err != nil {
			return err
		}
		if known {
			c.published()
			return nil
		}
	}
	c.result.Lock()
	defer c.result.Unlock()
	c.sum.Notes.Add(deadletter.NoteTakenOut, l.ID)
	return nil
}

// wasPublished says whether the message of a letter that is gone is in the queue, or in the ledger.
func (c *carrying) wasPublished(ctx context.Context, l stepItem) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	appID := c.task.Part.AppID
	q, err := c.records.look(ctx, appID)
	if err != nil {
		return false, err
	}
	if err := c.records.readLedger(ctx, time.Now()); err != nil {
		return false, err
	}
	if c.records.known.Ledger == nil {
		return true, nil // only this job takes out what it has in hand
	}
	for _, own := range []bool{false, true} {
		t := targetOf(l.letter(appID), own)
		life, known := c.records.known.Ledger.Life(appID, t.id, nil)
		if q.stored[t.msgID] || known && life.Generation >= t.generation {
			return true, nil
		}
	}
	return false, nil
}

// letter publishes a letter when its turn comes. Settling it is left to a goroutine; publishing is
// done here, so that one recipient's letters keep their order.
func (c *carrying) letter(begin, settle context.Context, item deadletter.Item) error {
	v, err := c.judge(settle, &item, c.spec.Options)
	if err != nil {
		return err
	}
	if v.action == publishLetter {
		if c.task.Pace.Wait(begin) != nil {
			return nil // of the letters that follow, some may have been published before
		}
		// Its turn may come long after it was chosen, and its producer may go on meanwhile.
		if v, err = c.judge(settle, &item, c.spec.Options); err != nil {
			return err
		}
	}
	select {
	case c.slots <- struct{}{}:
	case <-settle.Done():
		return context.Cause(settle)
	}
	answer := c.act(&item, v)
	c.open.Go(func() {
		defer func() { <-c.slots }()
		c.settle(begin, settle, item, v, answer)
	})
	return nil
}

// answer is what became of one publish.
type answer struct {
	err error
}

// act publishes the message of a verdict, if it has one.
func (c *carrying) act(item *deadletter.Item, v verdict) <-chan answer {
	ch := make(chan answer, 1)
	if v.action != publishLetter {
		return ch
	}
	c.mu.Lock()
	c.records.notePublished(item, v.target)
	c.mu.Unlock()
	v.msg.Header.Set(wire.HeaderJob, c.task.Order.ID)
	c.work.conn.Outbox.Publish(v.msg, func(_ broker.Ack, err error) { ch <- answer{err} })
	return ch
}

// settle waits until the queue has the message, then takes the letter out.
func (c *carrying) settle(
	begin, settle context.Context, item deadletter.Item, v verdict, ch <-chan answer,
) {
	for {
		switch v.action {
		case removeLetter:
			c.remove(settle, item)
			return
		case keepLetter:
			c.leave(item.Letter.ID, v.why.Error())
			return
		}
		var a answer
		select {
		case a = <-ch:
		case <-settle.Done():
			c.again(errors.New("the broker did not answer"))
			return
		}
		refused := (*broker.APIError)(nil)
		switch {
		case a.err == nil:
			c.remove(settle, item)
			return
		case broker.Full(a.err):
			if pause.For(begin, fullPause) != nil {
				return // it certainly is not in the queue
			}
		case errors.As(a.err, &refused):
			c.refuse(item.Letter.ID, a.err.Error())
			return
		default: // it may hide that it was taken
			c.again(a.err)
			return
		}
		var err error
		if v, err = c.judge(begin, &item, c.spec.Options); err != nil {
			if begin.Err() == nil {
				c.again(err)
			}
			return
		}
		ch = c.act(&item, v)
	}
}

// remove takes out a letter whose message the queue has, or had.
func (c *carrying) remove(ctx context.Context, item deadletter.Item) {
	if err := c.work.box.Delete(ctx, item.Seq); err != nil {
		c.again(fmt.Errorf("take a letter out of the box: %w", err))
		return
	}
	c.published()
}

func (c *carrying) published() {
	c.result.Lock()
	defer c.result.Unlock()
	c.inRow = 0
	c.sum.Published++
}

func (c *carrying) leave(id, why string) {
	c.result.Lock()
	defer c.result.Unlock()
	c.sum.Left++
	c.sum.Notes.Add(why, id)
}

// refuse leaves a letter that the broker does not take.
func (c *carrying) refuse(id, why string) {
	c.leave(id, why)
	c.result.Lock()
	defer c.result.Unlock()
	if c.inRow++; c.inRow == maxInRow {
		c.sum.Halt = fmt.Sprintf("%d letters in a row could not be published: %s", maxInRow, why)
		c.stop()
	}
}

// again has the step carried out again.
func (c *carrying) again(err error) {
	c.result.Lock()
	defer c.result.Unlock()
	if c.failed == nil {
		c.failed = err
		c.stop()
	}
}
