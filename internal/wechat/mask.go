package wechat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"
)

// maxText bounds, in bytes, every text of the other side that goes into an error.
const maxText = 512

// mask is a list of texts that must not be seen in an error, such as the token of the call.
type mask []string

// minSecret is the length, in bytes, below which a text is not masked: it protects nothing and
// would garble every error.
const minSecret = 4

// newMask returns a mask of texts, each as it is and as it stands in a query.
func newMask(texts ...string) mask {
	var m mask
	for _, t := range texts {
		if len(t) < minSecret {
			continue
		}
		m = append(m, t)
		if q := url.QueryEscape(t); q != t {
			m = append(m, q)
		}
	}
	return m
}

// text returns s fit for an error, a log line and a terminal: secrets replaced, control and
// invisible formatting characters turned into blanks (an errmsg could move the cursor or turn the
// reading direction), cut at maxText.
func (m mask) text(s string) string {
	s = m.redact(s)
	s = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return -1
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp):
			return ' '
		}
		return r
	}, s)
	// Once more: taking characters out may have joined the two halves of a secret.
	s = strings.TrimSpace(m.redact(s))
	if len(s) > maxText {
		cut := maxText - len("…")
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return s
}

func (m mask) redact(s string) string {
	for _, t := range m {
		s = strings.ReplaceAll(s, t, redacted)
	}
	return s
}

// err returns err fit to be shown: without any url.Error, whose text holds the URL with its query,
// and with a clean text. The chain below stays for errors.Is and errors.As unless a secret is found
// in it.
func (m mask) err(err error) error {
	for ue := (*url.Error)(nil); errors.As(err, &ue); {
		err = ue.Err
	}
	clean := &safeError{text: m.text(err.Error()), cause: err}
	if t := (interface{ Timeout() bool })(nil); errors.As(err, &t) {
		clean.timeout = t.Timeout()
	}
	if m.foundIn(err) {
		clean.cause = knownCause(err)
	}
	return clean
}

// foundIn reports whether any error of the chain shows a secret, in any form of printing.
func (m mask) foundIn(err error) bool {
	if err == nil || len(m) == 0 {
		return false
	}
	shown := fmt.Sprintf("%v %+v %#v", err, err, err)
	for _, t := range m {
		if strings.Contains(shown, t) {
			return true
		}
	}
	switch u := err.(type) { //nolint:errorlint // walks the chain itself
	case interface{ Unwrap() error }:
		return m.foundIn(u.Unwrap())
	case interface{ Unwrap() []error }:
		for _, e := range u.Unwrap() {
			if m.foundIn(e) {
				return true
			}
		}
	}
	return false
}

// knownCause returns what of err may be kept when its texts may not: one error that says nothing
// but its own name.
func knownCause(err error) error {
	for _, known := range []error{
		context.Canceled, context.DeadlineExceeded, os.ErrDeadlineExceeded, os.ErrNotExist,
		os.ErrPermission,
		io.ErrUnexpectedEOF, io.EOF, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE,
	} {
		if errors.Is(err, known) {
			return known
		}
	}
	return nil
}

// safeError is an error of the network or of a secret source whose text has been made safe.
type safeError struct {
	text    string
	timeout bool
	cause   error
}

func (e *safeError) Error() string { return e.text }
func (e *safeError) Unwrap() error { return e.cause }
func (e *safeError) Timeout() bool { return e.timeout }
