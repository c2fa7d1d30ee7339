package replay

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/ledger"
)

// Work carries out replays for the pool. It is a [job.Work].
type Work struct {
	conn  *broker.Conn
	box   *deadletter.Box
	known func() Known
	ends  func(jobID, appID string) (ledger.JobCounts, bool) // false: nobody counts

	mu       sync.Mutex
	sessions map[string]*session // by app
}

// NewWork makes the work of a worker. settings are asked for before each step; book is nil without
// a ledger.
func NewWork(
	conn *broker.Conn, book *ledger.Ledger, settings func() Settings,
) *Work {
	w := &Work{
		conn: conn, box: deadletter.Open(conn), sessions: make(map[string]*session),
	}
	w.ends = func(jobID, appID string) (ledger.JobCounts, bool) {
		if book == nil {
			return ledger.JobCounts{}, false
		}
		return book.JobCounts(ledger.JobOf(jobID, appID)), true
	}
	w.known = func() Known {
		s := settings()
		return Known{Apps: s.Apps, Remembered: s.Remembered, Ledger: ledgerOf(book)}
	}
	return w
}

// Settings are those of the apps that a worker serves.
type Settings struct {
	Apps       map[string]App
	Remembered time.Duration // Known.Remembered
}

// session is what is known of the letters of an app while replays of it run. Its jobs share it, so
// that no two of them publish the same generation of an id.
type session struct {
	mu      sync.Mutex
	records *records
	read    bool                 // what replays of the box have begun, into records
	used    atomic.Int64         // when, in nanoseconds
	filled  map[string]time.Time // by job: when as many were published as may all die
	waiting map[string]time.Time // by job: when its next letter was in another's hand
}

// sessionLasts is for how long a session is good while nobody uses it: another worker may carry
// out the jobs of its app meanwhile.
const sessionLasts = 5 * time.Second

// open returns the session of an app with what replays have begun, of the box that was made at a
// time.
func (w *Work) open(ctx context.Context, appID string, made time.Time) (*session, error) {
	s := w.session(appID)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.read {
		return s, nil
	}
	hands, err := readHands(ctx, w.conn, made)
	if err != nil {
		return nil, err
	}
	for _, h := range hands {
		s.records.doubtful(doubt{h.Seq, h.NewID}, h.At)
	}
	s.read = true
	return s, nil
}

func (w *Work) session(appID string) *session {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, now := w.sessions[appID], time.Now()
	if s == nil || now.Sub(time.Unix(0, s.used.Load())) > sessionLasts {
		s = &session{
			filled: make(map[string]time.Time), waiting: make(map[string]time.Time),
			records: newRecords(w.conn, Known{}),
		}
		w.sessions[appID] = s
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used.Store(now.UnixNano())
	s.records.known = w.known()
	return s
}

// judge says what is to be done with a letter now.
func (s *session) judge(
	ctx context.Context, item *deadletter.Item, o Options,
) (verdict, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.used.Store(now.UnixNano())
	return s.records.judge(ctx, item, o, now, now)
}

// othersWait says whether another job waits for letters that this one had in hand: they take turns,
// or the one that chooses again at once would take all.
func (s *session) othersWait(jobID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, jobID)
	for other, since := range s.waiting {
		delete(s.waiting, other)
		if time.Since(since) < time.Second {
			return true
		}
	}
	return false
}

// wait notes that the next letter of a job is in another's hand.
func (s *session) wait(jobID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting[jobID] = time.Now()
}

// Ended writes to the audit what came of a replay. It implements [job.Work].
func (w *Work) Ended(ctx context.Context, j job.Job) error {
	w.mu.Lock()
	for _, appID := range j.AppIDs() {
		if s := w.sessions[appID]; s != nil {
			s.mu.Lock()
			delete(s.filled, j.ID)
			s.mu.Unlock()
		}
	}
	w.mu.Unlock()
	c := j.Counts()
	return w.conn.Audit(ctx, entryOf(j.Order, c.Published, fmt.Sprintf(
		"job %s is %s: replayed %d, left %d", j.ID, j.State(), c.Published, c.Left)))
}

// entryOf is an entry in the audit about a replay.
func entryOf(o job.Order, count int, detail string) broker.AuditEntry {
	e := broker.AuditEntry{
		Actor: o.By, Verb: "replay", Filter: o.About, Count: count, Detail: detail,
	}
	if apps := o.AppIDs(); len(apps) == 1 {
		e.AppID = apps[0]
	}
	return e
}

var _ job.Work = (*Work)(nil)
