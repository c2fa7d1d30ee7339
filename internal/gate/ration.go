package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

// A forced refresh of an app's access token retires the token of every worker
// and of everybody else who uses the app. WeChat allows 20 a day, 30 s apart;
// the pool takes fewer, so that something is left for a person.
const (
	rationADay  = 3
	rationApart = time.Minute
)

// Ration counts the forced token refreshes of each app for the whole pool, as
// a list of their times in KEFU_STATE under token.<appid>.forced. It is a
// wechat.Ration.
type Ration struct {
	conn *broker.Conn
	log  *slog.Logger
}

// NewRation returns the ration of the pool at conn. log may be nil.
func NewRation(conn *broker.Conn, log *slog.Logger) *Ration {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Ration{conn, log}
}

// Take takes one for the app: false when three were taken in the last 24 h, or
// one in the last minute. Of many workers that ask at once one gets it.
func (r *Ration) Take(ctx context.Context, appID string) (bool, error) {
	prefix := "token." + appID + "."
	entries, err := r.conn.ReadState(ctx, prefix)
	if err != nil {
		return false, fmt.Errorf("the ration of token refreshes: %w", err)
	}
	var taken []time.Time
	var seq uint64
	for _, e := range entries {
		seq = e.Seq
		if err := json.Unmarshal(e.Value, &taken); err != nil {
			return false, fmt.Errorf("the ration of token refreshes: %w", err)
		}
	}
	taken, ok := ration(taken, time.Now().UTC())
	if !ok {
		return false, nil
	}
	body, err := json.Marshal(taken)
	if err != nil {
		return false, err
	}
	m := broker.PutState(prefix+"forced", body, 0) // without an end: a key that comes and goes has a sequence to find out
	m.Header.Set("Nats-Expected-Last-Subject-Sequence", strconv.FormatUint(seq, 10))
	switch err := r.conn.SaveState(ctx, m); {
	case wrongLastSeq(err):
		return false, nil // somebody else has just taken one
	case err != nil:
		return false, err
	}
	r.log.Warn("forcing a new access token: wechat keeps refusing the one that it hands out", "app", appID, "today", len(taken))
	return true, nil
}

func wrongLastSeq(err error) bool {
	var refused *broker.APIError
	return errors.As(err, &refused) && refused.Code == broker.CodeWrongLastSeq
}

// ration adds now to the times of forced refreshes, if one may be made now. A
// time after now is another machine's clock and counts as just now.
func ration(taken []time.Time, now time.Time) ([]time.Time, bool) {
	recent := slices.DeleteFunc(slices.Clone(taken), func(t time.Time) bool { return now.Sub(t) >= 24*time.Hour })
	if len(recent) >= rationADay {
		return nil, false
	}
	for _, t := range recent {
		if now.Sub(t) < rationApart {
			return nil, false
		}
	}
	return append(recent, now), true
}
