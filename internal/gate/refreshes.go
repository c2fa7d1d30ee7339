package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

// A forced refresh of an app's access token retires the token of every worker and of everybody else
// who uses the app. WeChat allows 20 a day, 30 s apart; the pool takes fewer, so that something is
// left for a person.
const (
	refreshesADay    = 3
	betweenRefreshes = time.Minute
)

// RefreshRation counts the forced token refreshes of each app for the whole pool, as a list of
// their times in KEFU_STATE under token.<appid>.forced. It is a wechat.Ration.
type RefreshRation struct {
	conn *broker.Conn
	log  *slog.Logger
}

// NewRefreshRation returns the ration of the pool at conn. log may be nil.
func NewRefreshRation(conn *broker.Conn, log *slog.Logger) *RefreshRation {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &RefreshRation{conn, log}
}

// Take takes one for the app: false when three were taken in the last 24 h, or one in the last
// minute. Of many workers that ask at once one gets it.
func (r *RefreshRation) Take(ctx context.Context, appID string) (bool, error) {
	taken, ok, err := revise(ctx, r.conn, "token."+appID+".forced", 0,
		func(taken []time.Time) ([]time.Time, bool) { return oneMore(taken, time.Now().UTC()) })
	switch {
	case errors.Is(err, broker.ErrOvertaken):
		return false, nil // somebody else has just taken one
	case err != nil:
		return false, fmt.Errorf("the ration of token refreshes: %w", err)
	case ok:
		r.log.Warn("forcing a new access token: wechat keeps refusing the one that it hands out",
			"app", appID, "today", len(taken))
	}
	return ok, nil
}

// oneMore adds now to the times of forced refreshes, if one may be made now. A time after now is
// another machine's clock and counts as just now.
func oneMore(taken []time.Time, now time.Time) ([]time.Time, bool) {
	recent := slices.DeleteFunc(slices.Clone(taken), func(t time.Time) bool {
		return now.Sub(t) >= 24*time.Hour
	})
	if len(recent) >= refreshesADay {
		return nil, false
	}
	for _, t := range recent {
		if now.Sub(t) < betweenRefreshes {
			return nil, false
		}
	}
	return append(recent, now), true
}
