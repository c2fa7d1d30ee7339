package deadletter

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// The index, KEFU_DEAD_INDEX, tells where in KEFU_DEAD the letters of an id
// lie, so that a look-up by id need not read all letters. Its subjects are
// kefu.deadindex.<bucket>, the bucket being the first three hex digits of the
// id's SHA-256: the broker keeps 4096 subjects in memory, however many letters
// there are.
//
// Whoever stores a letter stores its entry afterwards, and nothing that depends
// on the letter before that. What was buried by a worker that writes no entries,
// and what was stored before the index, is found by reading the letters. The key
// letters.indexed of KEFU_STATE says from where on that is not needed.
const (
	indexedKey = "letters.indexed"

	// recent is how many of the latest letters are read in any case: the entry of
	// a letter is stored a moment after it. One batch of a scan.
	recent = 512

	// mostLookUps is how many ids are looked up; more are looked for in all letters.
	mostLookUps = 8
)

// entry is a letter's entry in the index.
type entry struct {
	ID    string `json:"id"` // bytes 2 to 9 of its SHA-256, in hex
	AppID string `json:"app"`
	Seq   uint64 `json:"seq"` // in KEFU_DEAD
}

// place is the subject of an id's entries, and what they hold for the id.
func place(id string) (subject, hash string) {
	sum := sha256.Sum256([]byte(id))
	bucket := hex.EncodeToString(sum[:2])[:3]
	return wire.DeadIndexSubject(bucket), hex.EncodeToString(sum[2:10])
}

// IndexMessage is the entry in the index of a letter that [Message] made and
// that KEFU_DEAD holds under seq, as the broker acknowledged it. It must be
// stored before anybody is told of the letter.
func IndexMessage(l *schema.Letter, seq uint64) *nats.Msg {
	subject, hash := place(l.ID)
	body, _ := json.Marshal(entry{ID: hash, AppID: l.AppID, Seq: seq}) // cannot fail
	id := wire.LetterMsgID(l.AppID, l.ID, l.Generation, l.Sequence) + " at " +
		strconv.FormatUint(seq, 10)
	return &nats.Msg{Subject: subject, Header: nats.Header{schema.HeaderMsgID: {id}}, Data: body}
}

// coverage is from which letter on the index knows all. It is about two
// streams that were made at certain times: another one has other sequences.
type coverage struct {
	Letters time.Time `json:"letters"`
	Index   time.Time `json:"index"`
	From    uint64    `json:"from"`
}

// madeAt is when a stream was made, as it is written down.
func madeAt(info *jetstream.StreamInfo) time.Time {
	return info.Created.UTC().Truncate(time.Millisecond)
}

func coverageOf(letters, index *jetstream.StreamInfo) coverage {
	return coverage{
		Letters: madeAt(letters), Index: madeAt(index),
		From: letters.State.LastSeq + 1,
	}
}

// sameStreams says whether both are about the same streams.
func (c coverage) sameStreams(other coverage) bool {
	return c.Letters.Equal(other.Letters) && c.Index.Equal(other.Index)
}

// Cover keeps the mark from which letter on all are indexed. complete says
// whether everybody who may store letters now stores their entries, too: while
// that is not so the mark is taken away. Call it every now and then.
func (b *Box) Cover(ctx context.Context, complete bool) error {
	stored, known, err := b.readCoverage(ctx)
	if err != nil || !known && !complete {
		return err
	}
	if !complete {
		return b.conn.SaveState(ctx, broker.DeleteState(indexedKey))
	}
	letters, index, err := b.bothStreams(ctx)
	if err != nil || index == nil {
		return err
	}
	now := coverageOf(letters, index)
	if known && stored.sameStreams(now) {
		return nil
	}
	value, err := json.Marshal(now)
	if err != nil {
		return err
	}
	return b.conn.SaveState(ctx, broker.PutState(indexedKey, value, 0))
}

// readCoverage reads the mark; false when there is none.
func (b *Box) readCoverage(ctx context.Context) (c coverage, known bool, err error) {
	e, err := b.conn.LastState(ctx, indexedKey)
	if err != nil && !errors.Is(err, broker.ErrNoMessage) {
		return c, false, fmt.Errorf("read what is indexed of %s: %w", schema.StreamDead, err)
	}
	// No value, as after a deletion, is no JSON either.
	known = json.Unmarshal(e.Value, &c) == nil && c.From > 0
	return c, known, nil
}

// bothStreams looks at the letters' stream and at the index; that one is nil when there is none.
func (b *Box) bothStreams(ctx context.Context) (letters, index *jetstream.StreamInfo, err error) {
	for _, s := range []struct {
		name string
		info **jetstream.StreamInfo
	}{{schema.StreamDead, &letters}, {wire.StreamDeadIndex, &index}} {
		stream, err := b.conn.JS.Stream(ctx, s.name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, nil, nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("look at %s: %w", s.name, err)
		}
		*s.info = stream.CachedInfo()
	}
	return letters, index, nil
}

// found is where the letters of some ids lie.
type found struct {
	before uint64   // letters before this one are not indexed, and there are some
	seqs   []uint64 // of indexed letters, ascending
	after  uint64   // this letter and those after it may not be indexed yet
}

// lookUp looks the ids of a filter up in the index. false means that all letters have to be read.
func (b *Box) lookUp(ctx context.Context, filter Filter) (found, bool, error) {
	if len(filter.IDs) == 0 || len(filter.IDs) > mostLookUps {
		return found{}, false, nil
	}
	mark, known, err := b.readCoverage(ctx)
	if err != nil || !known {
		return found{}, false, err
	}
	letters, index, err := b.bothStreams(ctx)
	if err != nil || index == nil || !mark.sameStreams(coverageOf(letters, index)) {
		return found{}, false, err
	}
	f := found{after: letters.State.LastSeq + 1 - min(recent, letters.State.LastSeq)}
	first := max(letters.State.FirstSeq, 1)
	if f.after <= max(first, mark.From) {
		return found{}, false, nil
	}
	if first < mark.From {
		f.before = mark.From
	}
	for _, id := range filter.IDs {
		subject, hash := place(id)
		err := b.conn.Scan(ctx, wire.StreamDeadIndex, broker.ScanOptions{Subject: subject},
			func(s broker.Stored) error {
				var e entry
				if json.Unmarshal(s.Data, &e) == nil && e.ID == hash &&
					cmp.Or(filter.AppID, e.AppID) == e.AppID &&
					e.Seq >= max(first, mark.From) && e.Seq < f.after {
					f.seqs = append(f.seqs, e.Seq)
				}
				return nil
			})
		if err != nil {
			return found{}, false, err
		}
	}
	slices.Sort(f.seqs)
	f.seqs = slices.Compact(f.seqs)
	return f, true, nil
}

// scanFound is scan for what lookUp found.
func (b *Box) scanFound(
	ctx context.Context, found found, sieve sieve, seq, through uint64, f func(Item) error,
) error {
	ended := false
	g := func(i Item) error {
		err := f(i)
		ended = err != nil
		return err
	}
	if seq < found.before {
		end := found.before - 1
		if through > 0 {
			end = min(end, through)
		}
		if err := b.scan(ctx, b.conn.Scan, sieve, seq, end, g); err != nil || ended {
			return err
		}
	}
	for _, at := range found.seqs {
		if at < seq || through > 0 && at > through {
			continue
		}
		s, err := b.conn.Get(ctx, schema.StreamDead, at)
		if errors.Is(err, broker.ErrNoMessage) {
			continue // replayed or deleted since
		}
		if err != nil {
			return err
		}
		item, ok := sieve.item(s)
		if !ok {
			continue
		}
		if err := f(item); err != nil {
			if errors.Is(err, broker.ErrStopScan) {
				return nil
			}
			return err
		}
	}
	if through > 0 && through < found.after {
		return nil
	}
	return b.scan(ctx, b.conn.Scan, sieve, max(seq, found.after), through, f)
}
