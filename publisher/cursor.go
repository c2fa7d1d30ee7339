package publisher

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Position is a place among the receipts of an app, to go on from: [ReceiptsOptions.After]. Its
// text is one word ([Position.String], [Position.UnmarshalText]), to be stored with what was made
// of the receipt. The zero Position is none.
type Position struct {
	Seq  uint64    // Of the receipt in its stream; 0: before the first of all.
	Time time.Time // When it was stored there: a stream that is made anew counts from one again.
}

// IsZero tells whether the position is none.
func (p Position) IsZero() bool { return p.Seq == 0 && p.Time.IsZero() }

// String returns the position as one word, "" for none.
func (p Position) String() string {
	if p.IsZero() {
		return ""
	}
	return strconv.FormatUint(p.Seq, 10) + "@" + p.Time.UTC().Format(time.RFC3339Nano)
}

// MarshalText returns the position as String does.
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText has written.
func (p *Position) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*p = Position{}
		return nil
	}
	seq, at, found := strings.Cut(string(text), "@")
	var (
		read   Position
		noSeq  error
		noTime error
	)
	read.Seq, noSeq = strconv.ParseUint(seq, 10, 64)
	read.Time, noTime = time.Parse(time.RFC3339Nano, at)
	if !found || noSeq != nil || noTime != nil || read.IsZero() {
		return fmt.Errorf("publisher: %q is no position of a receipt", text)
	}
	*p = read
	return nil
}

// cursor is how far the receipts of an app have been read.
type cursor struct {
	opened bool      // every receipt since is or will be read
	next   uint64    // sequence behind the last receipt
	last   Position  // of that one; none before the first
	latest time.Time // when the latest was stored, by whatever clock
}

// sight is how a receipt relates to those that were read before.
type sight uint8

const (
	seenNever   sight = iota
	seenBefore        // this one was read already
	seenRewound       // it is new, and its stream another than before: sequences begin anew
)

// see tells whether a receipt was read before.
func (c *cursor) see(s storedReceipt) sight {
	rewound := s.seq < c.next
	if rewound && !s.time.After(c.latest) {
		return seenBefore
	}
	c.next, c.last = s.seq+1, Position{s.seq, s.time}
	if s.time.After(c.latest) {
		c.latest = s.time
	}
	if rewound {
		return seenRewound
	}
	return seenNever
}

// reach notes that nothing up to a position is to be read any more.
func (c *cursor) reach(p Position) {
	c.next, c.last = p.Seq+1, p
	if p.Time.After(c.latest) {
		c.latest = p.Time
	}
}

// begin notes that a source was opened; only the first says where reading begins.
func (c *cursor) begin(s *source) {
	if !c.opened {
		c.opened, c.next, c.latest = true, s.start, s.opened
	}
}

// resume opens a source where the one before had come, and returns the first receipt that it reads
// if there is one. Before the first source, it begins at from.
//
// It begins at the last receipt that was read: where that still is, the stream is the same, and its
// sequence says what follows whatever the clocks of the broker's nodes say. In a stream that was
// made anew what follows has a lower sequence, and only a time can tell.
func (p *Publisher) resume(
	ctx context.Context, subject string, c cursor, from from,
) (*source, *storedReceipt, error) {
	switch {
	case !c.opened:
		return p.start(ctx, subject, from)
	case !c.last.IsZero():
		s, first, err := p.start(ctx, subject, at(max(c.last.Seq, 1)))
		switch {
		case err != nil:
			return nil, nil, err
		case s.start > c.last.Seq: // the stream has nothing before that
			s.missed = missedBehind(c.last, s.start, s.begins(first))
			return s, first, nil
		case first != nil && first.seq == c.last.Seq && first.time.Equal(c.last.Time):
			return s, first, nil
		}
		s.close()
	}
	return p.start(ctx, subject, since(c.latest.Add(-clockSlack)))
}

// missedBehind is what was stored behind a position and is not any more, when the oldest that is
// stored has the sequence first and was stored then or later; nil when that follows the position.
func missedBehind(last Position, first uint64, then time.Time) *Missed {
	if first <= last.Seq+1 {
		return nil
	}
	return &Missed{After: last.Time, Before: then, AtMost: first - 1 - last.Seq}
}

// begins is a time that no receipt which the source reads was stored before: that of the first, if
// there was one when it was opened.
func (s *source) begins(first *storedReceipt) time.Time {
	if first != nil {
		return first.time
	}
	return s.opened
}

// start opens a source that is seen to read.
func (p *Publisher) start(
	ctx context.Context, subject string, from from,
) (*source, *storedReceipt, error) {
	s, err := p.open(ctx, subject, from, manyAhead)
	if err != nil {
		return nil, nil, err
	}
	first, err := s.poll()
	if err != nil {
		s.close()
		return nil, nil, err
	}
	return s, first, nil
}
