package campaign

import (
	"context"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/queue"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

const (
	// lookMost is how many messages of KEFU_LATER one look goes through: campaigns that wait share
	// it with all others, of which there may be a million.
	lookMost = 20_000

	// lookNext is between two parts of a search.
	lookNext = 2 * time.Second
	// lookSeldom is between two looks at the most, at what waits for long.
	lookSeldom = 8 * time.Second
	// emptyFor is after how long a search that has found nothing is made once more, before what is
	// not counted is given up.
	emptyFor = 3 * time.Second
)

// look is a way through what an app has in KEFU_LATER, where it goes on the next time.
type look struct {
	place int    // of [queue.LaterSubjects]
	seq   uint64 // of the next message there
}

// further calls f for the campaigns of the messages that follow, no more than most. It ends where f
// says so, before that message; all says that it has come to the end.
func (l *look) further(
	ctx context.Context, conn *broker.Conn, appID string, most int, f func(campaign string) bool,
) (all bool, err error) {
	subjects := queue.LaterSubjects(appID)
	for ; l.place < len(subjects); l.place, l.seq = l.place+1, 0 {
		over := false
		o := broker.ScanOptions{Subject: subjects[l.place], Seq: l.seq}
		err := conn.Scan(ctx, wire.StreamLater, o, func(s broker.Stored) error {
			target, err := wire.ParseSubject(s.Header.Get(wire.HeaderTarget))
			bulk := err == nil && target.Lane == schema.LaneBulk
			if over = most == 0 || bulk && !f(target.Key); over {
				l.seq = s.Seq
				return broker.ErrStopScan
			}
			most--
			l.seq = s.Seq + 1
			return nil
		})
		if err != nil || over {
			return false, err
		}
	}
	return true, nil
}

// waiting counts what waits in KEFU_LATER of each campaign of an app. Where more than lookMost
// messages wait it counts among the first of them.
func waiting(ctx context.Context, conn *broker.Conn, appID string) (map[string]int, error) {
	out := make(map[string]int)
	_, err := new(look).further(ctx, conn, appID, lookMost, func(campaign string) bool {
		out[campaign]++
		return true
	})
	return out, err
}

// search looks for what a campaign has queued or waiting.
type search struct {
	look  look
	next  time.Time     // before which nothing is looked at
	rests time.Duration // after the look before, which found something that waits
	empty time.Time     // when a whole search had found nothing
	gone  bool
}

// gone says whether nothing of a campaign is queued or waits, by two searches in a row: what moves
// between the two places meanwhile may be missed by one.
func (w *Work) gone(ctx context.Context, f *feed, appID string, now time.Time) (bool, error) {
	s := &f.search
	if s.gone || now.Before(s.next) {
		return s.gone, nil
	}
	n, err := queued(ctx, w.conn, appID, f.spec.Campaign)
	if err != nil || n > 0 {
		*s = search{}
		return false, err
	}
	waits := false
	all, err := s.look.further(ctx, w.conn, appID, lookMost, func(campaign string) bool {
		waits = campaign == f.spec.Campaign
		return !waits
	})
	s.after(waits, all && err == nil, now)
	return s.gone, err
}

// after plans the next look. A search goes on at what it has found: what is stored later stands
// behind that.
func (s *search) after(waits, all bool, now time.Time) {
	switch {
	case waits:
		s.empty = time.Time{}
		s.rests = min(max(2*s.rests, lookQuietly), lookSeldom)
		s.next = now.Add(s.rests)
	case !all:
		s.next = now.Add(lookNext)
	case s.empty.IsZero():
		s.look, s.empty, s.next = look{}, now, now.Add(emptyFor)
	default:
		s.gone = true
	}
}
