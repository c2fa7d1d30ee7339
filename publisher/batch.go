package publisher

import (
	"context"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

const (
	// maxBatchMessages is the most that one atomic batch may hold (nats-server:
	// streamDefaultMaxAtomicBatchSize).
	maxBatchMessages = 1000

	// maxBatchBytes keeps a batch of large packets from holding up others: a replicated stream
	// proposes it as a whole.
	maxBatchBytes = 4 << 20

	// minBatch is from how many on a batch is worth it: the broker stages each in files of its own,
	// which takes it some 4 ms (measured).
	minBatch = 32

	// agreeWait is how long it has to agree to a batch. A queue that lost its leader says so at
	// once; this is for answers that are lost.
	agreeWait = 2 * time.Second

	// commitWait is how long the broker has to store a batch before single publishes find out
	// whether it did.
	commitWait = 3 * time.Second

	// noBatchesFor is for how long a queue that allows no batches is not asked again: its settings
	// may change.
	noBatchesFor = time.Minute
)

// The headers of an atomic batch, from NATS' ADR-50.
const (
	headerBatchID     = "Nats-Batch-Id"
	headerBatchSeq    = "Nats-Batch-Sequence"
	headerBatchCommit = "Nats-Batch-Commit"
)

// PublishBatch puts many intents of one app into its queue; opts hold for all. It is for volume: up
// to a thousand share one write to the broker's disk. It returns a result for each intent, in their
// order, and a [*BatchError] when any of them was not accepted.
//
// It is no transaction. Each intent is accepted or refused for itself: those that break a rule do
// not keep back the others, and a full queue takes what fits. Intents of one recipient are stored
// in their order; when one of them fails, those behind it may not. An id that comes twice is stored
// once.
//
// To repeat what failed, publish the intents again at which the errors' Index points, under the
// same ids: give each intent one ([WithID]) in the first place, or the ID of its [Error].
//
// When ctx has no deadline it ends when nothing was stored for 15 s. What has not been tried then
// is [ErrNotQueued].
func (p *Publisher) PublishBatch(
	ctx context.Context, appID string, intents []Intent, opts ...PublishOption,
) ([]Result, error) {
	results := make([]Result, len(intents))
	var stop error
	if err := p.usable(ctx); err != nil {
		stop = notQueued(err)
	}
	for start := 0; start < len(intents); {
		pubs := p.chunk(appID, intents[start:], opts)
		if stop == nil {
			stop = p.publishChunk(ctx, appID, pubs)
		}
		for i, pub := range pubs {
			if !pub.settled {
				pub.fail(stop)
			}
			results[start+i] = pub.result
			if err, ok := pub.result.Err.(*Error); ok { //nolint:errorlint // fail sets no other
				err.Index = start + i
			}
		}
		start += len(pubs)
	}
	return results, summary(results)
}

// chunk composes as many intents as one batch may hold.
func (p *Publisher) chunk(appID string, intents []Intent, opts []PublishOption) []*publication {
	pubs := make([]*publication, 0, min(maxBatchMessages, len(intents)))
	size := 0
	for _, in := range intents {
		if len(pubs) == maxBatchMessages || size >= maxBatchBytes {
			break
		}
		pub := compose(appID, in, p.limits, p.defaults, opts)
		if pub.msg != nil {
			size += len(pub.msg.Data)
		}
		pubs = append(pubs, pub)
	}
	return pubs
}

// publishChunk settles pubs. The error is why more of the same would fail, too; some may then be
// left unsettled.
//
// A batch is never more than the fast way. Whatever comes in between (the stream allows none, an id
// was stored before, there is no room for all, the answer was lost) the single way settles, under
// the same ids: a batch is stored as a whole or not at all, and in the former case every single
// publish is answered as a duplicate.
func (p *Publisher) publishChunk(ctx context.Context, appID string, pubs []*publication) error {
	return p.publishBy(ctx, appID, pubs, true)
}

// publishBy is publishChunk, if wanted without the fast way: it is not always the fastest.
func (p *Publisher) publishBy(
	ctx context.Context, appID string, pubs []*publication, batch bool,
) error {
	first, rest := distinct(pubs)
	if !batch || len(first) < minBatch || !p.commit(ctx, appID, first) {
		if err := p.carry(ctx, appID, first); err != nil {
			return err
		}
	}
	return p.carry(ctx, appID, rest)
}

// distinct parts what is to be published into those whose id has not come yet, and the repeats: one
// of these would have the broker refuse the whole batch.
func distinct(pubs []*publication) (first, rest []*publication) {
	first = make([]*publication, 0, len(pubs))
	var ids map[string]bool
	for _, pub := range pubs {
		switch id := pub.result.ID; {
		case pub.settled:
		case pub.result.made:
			first = append(first, pub)
		case ids[id]:
			rest = append(rest, pub)
		default:
			if ids == nil {
				ids = make(map[string]bool, len(pubs))
			}
			ids[id] = true
			first = append(first, pub)
		}
	}
	return first, rest
}

// commit publishes pubs as one atomic batch. It settles all of them or, when it reports false,
// none.
func (p *Publisher) commit(ctx context.Context, appID string, pubs []*publication) bool {
	if until, single := p.singles.Load(appID); single && time.Now().Before(until.(time.Time)) {
		return false
	}
	if ctx.Err() != nil || p.isClosed() || !p.nc.IsConnected() {
		return false
	}
	b := &batch{nc: p.nc, id: nuid.Next(), heard: make(chan answer, 4), closed: p.closed}
	reply, forget := p.answers.expect(func(m *nats.Msg) {
		select {
		case b.heard <- readAnswer(m):
		default: // one for the first and one for the last is all that is read
		}
	})
	defer forget()
	last, ok := b.send(ctx, pubs, reply)
	if b.code == codeNoBatches {
		p.singles.Store(appID, time.Now().Add(noBatchesFor))
	}
	if !ok || last.batch != b.id || last.count != len(pubs) {
		for _, pub := range pubs {
			strip(pub.msg)
			if b.open {
				pub.sent++ // stored with the batch, for all we know
			}
		}
		return false
	}
	p.known.LoadOrStore(appID, struct{}{})
	for i, pub := range pubs {
		pub.accept(last.stream, last.seq-uint64(len(pubs)-1-i), false)
	}
	return true
}

// batch is one atomic batch on its way.
type batch struct {
	nc     *nats.Conn
	id     string
	heard  chan answer
	closed <-chan struct{} // with the publisher

	open bool // the last message left, and was not answered
	code int  // why the broker refused it
}

// send publishes the messages: the first waits until the broker agrees, the others for nothing, the
// last for the batch to be stored.
func (b *batch) send(
	ctx context.Context, pubs []*publication, reply string,
) (last answer, ok bool) {
	for i, pub := range pubs {
		m := pub.msg
		m.Reply = ""
		m.Header[headerBatchID] = []string{b.id}
		m.Header[headerBatchSeq] = []string{strconv.Itoa(i + 1)}
		switch i {
		case 0:
			m.Reply = reply
		case len(pubs) - 1:
			m.Header[headerBatchCommit] = []string{"1"}
			m.Reply = reply
			b.open = true // an error may come after all bytes have left
		}
		if b.nc.PublishMsg(m) != nil {
			return answer{}, false
		}
		if i == 0 {
			if a, came := b.await(ctx, agreeWait); !came || a.verdict != begun {
				return answer{}, false
			}
		}
	}
	last, ok = b.await(ctx, commitWait)
	b.open = !ok
	return last, ok && last.verdict == stored
}

func (b *batch) await(ctx context.Context, wait time.Duration) (answer, bool) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case a := <-b.heard:
		b.code = a.code()
		return a, true
	case <-timer.C:
	case <-ctx.Done():
	case <-b.closed:
	}
	return answer{}, false
}

// strip makes a message of a batch a single one again.
func strip(m *nats.Msg) {
	delete(m.Header, headerBatchID)
	delete(m.Header, headerBatchSeq)
	delete(m.Header, headerBatchCommit)
}
