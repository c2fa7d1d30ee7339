package sandbox

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"
)

// query reads the parameters of a control call strictly: one that nobody has asked for, or that
// cannot be read, is an error. A misspelt filter would otherwise select everything and make a check
// pass.
type query struct {
	values url.Values
	known  map[string]bool
	errs   []error
}

func newQuery(v url.Values) *query { return &query{values: v, known: map[string]bool{}} }

func (q *query) text(name string) string {
	q.known[name] = true
	return q.values.Get(name)
}

func (q *query) need(name string) string {
	v := q.text(name)
	if v == "" {
		q.errs = append(q.errs, fmt.Errorf("%s is needed", name))
	}
	return v
}

func (q *query) number(name string, or int) int {
	s := q.text(name)
	if s == "" {
		return or
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		q.errs = append(q.errs, fmt.Errorf("%s: %q is no number from 0 on", name, s))
	}
	return n
}

func (q *query) duration(name string, or time.Duration) time.Duration {
	s := q.text(name)
	if s == "" {
		return or
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		q.errs = append(q.errs, fmt.Errorf("%s: %q is no duration such as 150ms or 2s", name, s))
	}
	return d
}

func (q *query) flag(name string) bool {
	s := q.text(name)
	if s == "" {
		return false
	}
	b, err := strconv.ParseBool(s)
	if err != nil {
		q.errs = append(q.errs, fmt.Errorf("%s: %q is not true or false", name, s))
	}
	return b
}

func (q *query) filter() Filter {
	return Filter{
		Call: q.text("call"), AppID: q.text("appid"), OpenID: q.text("openid"),
		MsgType:  q.text("msgtype"),
		Contains: q.text("contains"), Delivered: q.flag("delivered"), Since: q.number("since", 0),
	}
}

func (q *query) err() error {
	for name := range q.values {
		if !q.known[name] {
			q.errs = append(q.errs, fmt.Errorf("unknown parameter %q", name))
		}
	}
	return errors.Join(q.errs...)
}
