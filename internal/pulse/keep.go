package pulse

import (
	"context"
	"log/slog"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

const (
	// saveEvery is how often a worker writes down what has changed; saveLarge, when that is more
	// than large bytes.
	saveEvery = 5 * time.Second
	saveLarge = 10 * time.Second
	large     = 64 << 10

	// most is what is written down at most. The broker takes messages of a megabyte.
	most = 512 << 10

	saveTimeout = 5 * time.Second
	lastTimeout = time.Second // of a worker that stops
)

// Keep writes down what has changed, under a worker's name, until ctx ends.
func (r *Recorder) Keep(ctx context.Context, conn *broker.Conn, worker string, log *slog.Logger) {
	k := keeping{recorder: r, conn: conn, key: keyPrefix + worker, log: log}
	t := time.NewTimer(saveEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTimeout)
			defer cancel()
			k.save(end, time.Now())
			return
		case <-t.C:
		}
		due := saveEvery
		if k.save(ctx, time.Now()) > large {
			due = saveLarge
		}
		t.Reset(due)
	}
}

// keeping is a worker's key. It belongs to one goroutine.
type keeping struct {
	recorder *Recorder
	conn     *broker.Conn
	key      string
	log      *slog.Logger
	unsaved  bool // what was taken from the recorder last
	failing  bool
}

// save writes the key if something has changed, and returns how large it is.
func (k *keeping) save(ctx context.Context, now time.Time) (size int) {
	if !k.conn.Connected() {
		return 0
	}
	changed := k.recorder.changed() || k.unsaved
	if !changed {
		return 0
	}
	body := k.recorder.encode(now)
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	err := k.conn.SaveState(ctx, broker.PutState(k.key, body, keyTTL))
	k.unsaved = err != nil
	switch {
	case err != nil && !k.failing:
		k.log.Info("the last hour cannot be written down: kefu overview lags behind", "error", err)
	case err == nil && k.failing:
		k.log.Info("the last hour is written down again")
	}
	k.failing = err != nil
	return len(body)
}

// changed says whether something was counted since it was asked last.
func (r *Recorder) changed() (changed bool) {
	for _, a := range r.all() {
		a.mu.Lock()
		changed = changed || a.dirty
		a.dirty = false
		a.mu.Unlock()
	}
	return changed
}

func (r *Recorder) all() map[string]*App {
	r.mu.Lock()
	defer r.mu.Unlock()
	apps := make(map[string]*App, len(r.apps))
	for appID, a := range r.apps {
		apps[appID] = a
	}
	return apps
}

// encode is the last hour before now; of very many apps less than an hour.
func (r *Recorder) encode(now time.Time) []byte {
	newest := minuteOf(now)
	hours := make(map[string]*hour)
	for appID, a := range r.all() {
		if h := a.copied(newest); h != nil {
			hours[appID] = h
		}
	}
	body := encode(hours, newest, Minutes)
	for minutes := Minutes / 2; len(body) > most && minutes > 0; minutes /= 2 {
		body = encode(hours, newest, minutes)
	}
	return body
}

// copied is the app's hour, nil if nothing happened in it.
func (a *App) copied(newest int64) *hour {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.hour == nil {
		return nil
	}
	a.hour.closeMinute()
	if a.hour.newest <= newest-Minutes {
		a.hour = nil
		return nil
	}
	h := *a.hour
	for i, b := range h.blocks {
		if b != nil {
			copied := *b
			h.blocks[i] = &copied
		}
	}
	return &h
}
