package pulse

import (
	"context"
	"fmt"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

// Hours are the last hours of all apps that did something in theirs, added up over all workers,
// those that are gone by now as well. A minute is that of the worker's wall clock.
type Hours struct {
	At   time.Time       `json:"at"`   // when they were read
	Apps map[string]Hour `json:"apps"` // by appid
}

// Hour is the last hour of one app: 59 full minutes, and the one under way.
type Hour struct {
	PerSecond float64 `json:"per_second"` // sent, over the last full minute and the one under way
	Lately    Sums    `json:"lately"`     // of the last 5 minutes
	Hour      Sums    `json:"hour"`
	Points    []Point `json:"points"` // Minutes of them, the minute under way last
}

// Sums are what ended in a span of time, and how long it took. Durations are known by blocks of
// five minutes: of Lately they are those of the last 5 to 10 minutes, of Hour those of the last 60
// to 65.
type Sums struct {
	Sent      int     `json:"sent"`
	Dead      int     `json:"dead"`
	Cancelled int     `json:"cancelled"`
	Calls     int     `json:"calls"`
	Live      Latency `json:"live"`
	Bulk      Latency `json:"bulk"`
	Call      Latency `json:"call"`
}

// Latency is how long things took, in seconds. Live and bulk: to the end of an intent from its
// publication or, if that is later, the time it was to be sent at; replayed ones are left out.
type Latency struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50"` // 0 while Count is
	P99   float64 `json:"p99"`
}

// Point is one minute.
type Point struct {
	At        time.Time `json:"at"` // when the minute began
	Sent      int       `json:"sent"`
	Dead      int       `json:"dead"`
	Cancelled int       `json:"cancelled"`
	Calls     int       `json:"calls"`
	P99       float64   `json:"p99"` // seconds, of live and bulk, at the slowest worker
}

// Read reads what all workers wrote down. What a worker of another version wrote in another form is
// left out.
func Read(ctx context.Context, conn *broker.Conn) (Hours, error) {
	entries, err := conn.ReadState(ctx, keyPrefix)
	if err != nil {
		return Hours{}, fmt.Errorf("the last hour: %w", err)
	}
	now := time.Now()
	m := merge{newest: minuteOf(now), apps: make(map[string]*merged)}
	for _, e := range entries {
		_ = decode(e.Value, m.add)
	}
	return m.hours(now), nil
}

// merge adds up what workers wrote.
type merge struct {
	newest int64
	apps   map[string]*merged
}

type merged struct {
	minutes [Minutes]struct {
		sent, dead, cancelled, calls int
		p99                          uint8
	}
	lately, hour block
}

// ahead is by how many minutes a worker's clock may be ahead of ours; its minutes count as this
// one.
const ahead = 2

// ago is how many minutes, or blocks, one is before the newest.
func ago(newest, number int64) (int, bool) {
	n := newest - number
	if n < 0 && n >= -ahead {
		n = 0
	}
	return int(n), n >= 0
}

func (m *merge) add(appID string, h *hour) {
	a := m.apps[appID]
	if a == nil {
		a = &merged{}
		m.apps[appID] = a
	}
	for _, from := range h.minutes {
		n, ok := ago(m.newest, from.number)
		if !ok || n >= Minutes {
			continue
		}
		to := &a.minutes[Minutes-1-n]
		to.sent, to.dead = to.sent+int(from.sent), to.dead+int(from.dead)
		to.cancelled, to.calls = to.cancelled+int(from.cancelled), to.calls+int(from.calls)
		to.p99 = max(to.p99, from.p99)
	}
	for _, b := range h.blocks {
		if b == nil {
			continue
		}
		n, ok := ago(m.newest/blockMinutes, b.number)
		if ok && n < blocks {
			a.hour.add(b)
		}
		if ok && n < 2 {
			a.lately.add(b)
		}
	}
}

func (b *block) add(o *block) {
	b.live.add(&o.live)
	b.bulk.add(&o.bulk)
	b.call.add(&o.call)
}

func (b *block) sums() Sums {
	return Sums{Live: b.live.latency(), Bulk: b.bulk.latency(), Call: b.call.latency()}
}

func (m *merge) hours(now time.Time) Hours {
	out := Hours{At: now, Apps: make(map[string]Hour, len(m.apps))}
	for appID, a := range m.apps {
		out.Apps[appID] = a.result(m.newest, now)
	}
	return out
}

func (a *merged) result(newest int64, now time.Time) Hour {
	h := Hour{Lately: a.lately.sums(), Hour: a.hour.sums(), Points: make([]Point, Minutes)}
	for i, from := range a.minutes {
		p := Point{At: minuteAt(newest - int64(Minutes-1-i)), Sent: from.sent, Dead: from.dead,
			Cancelled: from.cancelled, Calls: from.calls, P99: secondsOf(from.p99)}
		h.Points[i] = p
		h.Hour.count(p)
		if i >= Minutes-blockMinutes {
			h.Lately.count(p)
		}
	}
	last := h.Points[Minutes-2:]
	h.PerSecond = float64(last[0].Sent+last[1].Sent) / now.Sub(last[0].At).Seconds()
	return h
}

func (s *Sums) count(p Point) {
	s.Sent, s.Dead = s.Sent+p.Sent, s.Dead+p.Dead
	s.Cancelled, s.Calls = s.Cancelled+p.Cancelled, s.Calls+p.Calls
}
