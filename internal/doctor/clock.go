package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/wire"
)

// clockSeen is how far this machine's clock is ahead of another one.
type clockSeen struct {
	of      string
	ahead   time.Duration
	exact   time.Duration // it may be off by so much
	warn    time.Duration
	harmful time.Duration
}

// seeClock asks for anything that the broker answers with its time in it.
func seeClock(ctx context.Context, s *scene) (clockSeen, error) {
	conn, err := s.broker()
	if err != nil {
		return clockSeen{}, err
	}
	seen := clockSeen{of: "broker", warn: time.Second, harmful: 10 * time.Second}
	refused := error(nil)
	for _, subject := range []string{userInfo, streamInfo + wire.StreamState} {
		var at time.Time
		begin := time.Now()
		err := s.ask(ctx, []string{subject}, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, s.Wait)
			defer cancel()
			m, err := conn.NC.RequestWithContext(ctx, subject, nil)
			if err == nil {
				at = timeIn(m)
			}
			return err
		})
		took := time.Since(begin)
		if err == nil && !at.IsZero() {
			seen.exact = took / 2
			seen.ahead = begin.Add(seen.exact).Sub(at)
			return seen, nil
		}
		refused = err
	}
	if refused == nil {
		refused = skipf("the broker answers nothing that has its time in it")
	}
	return seen, refused
}

// timeIn returns the time of the server in an answer; zero when there is none.
func timeIn(m *nats.Msg) time.Time {
	var answer struct {
		TS     time.Time `json:"ts"` // of a stream
		Server struct {
			Time time.Time `json:"time"`
		} `json:"server"` // of what a server says itself
	}
	_ = json.Unmarshal(m.Data, &answer) // what cannot be read has no time
	if !answer.Server.Time.IsZero() {
		return answer.Server.Time
	}
	return answer.TS
}

func judgeClock(c clockSeen) []Finding {
	way := "ahead of"
	if c.ahead < 0 {
		way = "behind"
	}
	off := c.ahead.Abs() - c.exact
	text := fmt.Sprintf("this machine's clock is %s %s the %s's", apart(c.ahead), way, c.of)
	fix := "Have one source of time for all machines: chronyd or systemd-timesyncd; timedatectl " +
		"shows whether it runs."
	switch {
	case off >= c.harmful:
		return []Finding{bad(text+": deadlines and tokens end at the wrong time", fix)}
	case off >= c.warn:
		return []Finding{risky(text, fix)}
	}
	return []Finding{well("less than %s apart", apart(c.exact+c.ahead.Abs()))}
}
