package deadletter

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
)

// answer is what became of one publish.
type answer struct {
	ack broker.Ack
	err error
}

func (r *replay) publish(msg *nats.Msg) <-chan answer {
	ch := make(chan answer, 1)
	r.box.conn.Outbox.Publish(msg, func(ack broker.Ack, err error) { ch <- answer{ack, err} })
	return ch
}

// settle waits until the queue has the message, then takes the letter out.
func (r *replay) settle(reading, settling context.Context, c chosen, o offered) {
	item := c.item
	for {
		switch o.action {
		case removeLetter:
			r.remove(settling, item, true)
			return
		case keepLetter:
			r.unsent(item.Seq)
			r.skip(item.Letter.ID, o.why)
			return
		}
		var a answer
		select {
		case a = <-o.answer:
		case <-settling.Done():
			r.fail(item.Letter.ID, "the broker did not answer before the replay was interrupted")
			return
		}
		switch {
		case a.err == nil:
			// A duplicate is this letter's own: its id names the letter.
			r.remove(settling, item, a.ack.Duplicate)
			return
		case !broker.Full(a.err):
			if refused := (*broker.APIError)(nil); errors.As(a.err, &refused) {
				r.unsent(item.Seq) // any other error may hide that it was taken
			}
			r.fail(item.Letter.ID, a.err.Error())
			return
		}
		r.wait(+1, item.Letter.AppID)
		ok := pause(reading, fullPause)
		r.wait(-1, item.Letter.AppID)
		var err error
		if ok {
			c.target = o.target
			o, err = r.offer(reading, c)
		}
		switch {
		case reading.Err() != nil && (!ok || err != nil):
			r.unsent(item.Seq)
			r.fail(item.Letter.ID, "the queue was full when the replay was interrupted")
			return
		case err != nil:
			r.unsent(item.Seq)
			r.fail(item.Letter.ID, err.Error())
			return
		}
	}
}

// remove takes out a letter whose message the queue has, or had. before says
// that an earlier run has published it.
func (r *replay) remove(ctx context.Context, item Item, before bool) {
	err := r.box.Delete(ctx, item.Seq)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inRow = 0
	r.result.Replayed++
	if before {
		r.result.Duplicates++
	}
	if err != nil {
		r.result.Kept++
		r.notes.add("", "replayed, but its letter is still in the box: run again to take it out",
			item.Letter.ID)
	} else {
		delete(r.open, item.Seq)
		delete(r.flying, item.Seq)
		r.settled[item.Seq] = true
	}
	r.progress("")
}

func (r *replay) skip(id string, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Skipped++
	r.notes.add("", why.Error(), id)
	r.progress("")
}

// noteDiscarded notes a letter that is not in the box any more. It counts as neither replayed nor
// left.
func (r *replay) noteDiscarded(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes.add("", noteTakenOut, id)
}

func (r *replay) fail(id, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Failed++
	r.notes.add("", why, id)
	if r.inRow++; r.inRow == maxInRow {
		r.result.Stopped = fmt.Sprintf("%d letters in a row could not be published: %s",
			maxInRow, why)
		r.stop(errStopped)
	}
	r.progress("")
}

// wait counts the letters that stand before a full queue.
func (r *replay) wait(n int, appID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting += n
	if r.waiting > 0 {
		r.progress("the queue of " + appID + " is full")
	}
}

// progress is called with r.mu held.
func (r *replay) progress(waiting string) {
	if r.o.Progress != nil {
		r.o.Progress(Progress{Replayed: r.result.Replayed, Left: r.result.Skipped + r.result.Failed,
			Waiting: waiting})
	}
}
