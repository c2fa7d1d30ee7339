package broker

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// denial is what the broker said last about a missing permission.
type denial struct {
	at  time.Time
	why string
}

// asyncError takes what nats.go reports outside of any call. Permission errors
// arrive here only; the request itself just times out.
func (c *Conn) asyncError(sub *nats.Subscription, err error) {
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	if errors.Is(err, nats.ErrPermissionViolation) {
		if text := err.Error(); strings.Contains(text, `"`+messageGet) ||
			strings.Contains(text, "."+sweepName) {
			c.refusal.run() // whoever asked knows what to do
			return
		}
		err = c.deny(err)
		if c.onDenied != nil {
			c.onDenied(fmt.Errorf("%w: %w", ErrDenied, err))
		}
	}
	c.log.Warn("nats", "error", err, "subject", subject)
}

// ErrDenied says that the broker's user lacks a permission.
var ErrDenied = errors.New("the broker refuses this user")

// denied is for how long a missing permission counts: what is forbidden is
// tried again within AckWait, and nothing tells of a permission that was given.
const denied = 20 * time.Second

var forbidden = regexp.MustCompile(`(Publish|Subscription) to "([^"]*)"`)

// deny notes a missing permission, by the head of the subject only: its tail may
// be an openid, or differ for each message. Of the JetStream API it is the
// request and the stream, which an operator has to know.
func (c *Conn) deny(err error) error {
	why := "a permission is missing"
	if m := forbidden.FindStringSubmatch(err.Error()); m != nil {
		why = fmt.Sprintf("no permission for %s to %s", strings.ToLower(m[1]), head(m[2]))
	}
	c.denied.Store(&denial{time.Now(), why})
	return errors.New(why)
}

// head is the part of a subject that may be shown.
func head(subject string) string {
	tokens := strings.Split(subject, ".")
	n := 2
	if strings.HasPrefix(subject, "$JS.API.") {
		n = 5 // $JS.API.STREAM.CREATE.<stream>
		if len(tokens) > 3 && (tokens[3] == "MSG" || tokens[3] == "DURABLE") {
			n = 6 // $JS.API.CONSUMER.MSG.NEXT.<stream>
		}
		if len(tokens) <= n {
			return subject
		}
	}
	return strings.Join(tokens[:min(len(tokens), n)], ".") + ".>"
}

// Denied is what the broker forbade lately; "" for nothing. It
// says so asynchronously only: a forbidden acknowledgement looks like one that
// was made.
func (c *Conn) Denied() string {
	if d := c.denied.Load(); d != nil && time.Since(d.at) < denied {
		return d.why
	}
	return ""
}
