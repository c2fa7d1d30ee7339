package schema

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Headers of an intent that producers may set.
const (
	// The intent's id, see [CheckID]: the idempotency key.
	HeaderMsgID = "Nats-Msg-Id"
	// RFC 3339: later than this it is never sent.
	HeaderExpiresAt = "Kefu-Expires-At"
	// RFC 3339: held until then.
	HeaderSendAt = "Kefu-Send-At"
	// An [UnknownPolicy].
	HeaderUnknown = "Kefu-Unknown"
	// The publishing service: 1 to 64 bytes of printable ASCII without blanks.
	HeaderSource = "Kefu-Source"
	// W3C trace context.
	HeaderTraceparent = "traceparent"
)

// reserved are headers that kefu itself sets on what it publishes again.
var reserved = [...]string{
	"Kefu-Id", "Kefu-Generation", "Kefu-Attempt", "Kefu-Published-At", "Kefu-Tried", "Kefu-Target",
	"Kefu-Hop",
}

// UnknownPolicy says what to do when the request left and no usable answer came. "" is the app's
// setting.
type UnknownPolicy string

// The policies for an unknown outcome.
const (
	PolicyResend UnknownPolicy = "resend" // Once more, marked as a possible duplicate.
	PolicyPark   UnknownPolicy = "park"   // To the dead letters, for people to decide.
)

// Envelope is what the headers of an intent say. Times are in UTC, and zero when not given; they
// lie between the years 1970 and 9999, which is more than a Unix time in nanoseconds can hold.
type Envelope struct {
	// The intent's id, Nats-Msg-Id; "" has kefu make one.
	ID string
	// Later than this it is never sent. It may lie before SendAt: then it never will be.
	ExpiresAt time.Time
	// Held until then.
	SendAt time.Time
	// "" is the app's setting.
	Unknown UnknownPolicy
	// The publishing service, "" when it gave no name.
	Source string
	// In the form of version 00; "" when none was given or it is not valid.
	Traceparent string
}

// headers are those that ParseEnvelope reads, in the order in which it reports what is wrong.
var headers = [...]struct {
	name  string
	parse func(e *Envelope, value string) (broken string)
}{
	{HeaderMsgID, func(e *Envelope, v string) string { e.ID = v; return idRule(v) }},
	{HeaderExpiresAt, func(e *Envelope, v string) string { return parseTime(&e.ExpiresAt, v) }},
	{HeaderSendAt, func(e *Envelope, v string) string { return parseTime(&e.SendAt, v) }},
	{HeaderUnknown, (*Envelope).parseUnknown},
	{HeaderSource, func(e *Envelope, v string) string { e.Source = v; return sourceRule(v) }},
	{HeaderTraceparent, func(e *Envelope, v string) string {
		e.Traceparent = parseTraceparent(v)
		return ""
	}},
}

// ParseEnvelope reads the headers of an intent as a producer publishes it. Names may be in any
// letter case.
//
// A header that comes twice (in whatever case), a value that cannot be read, and a Kefu-* header
// that is not known are errors: a typo in Kefu-Expires-At must not send a late message. The error
// is a [*FieldError] with the header as Field, and the envelope then holds the ID and the source,
// if these can be read, and nothing else. An invalid traceparent is dropped instead, as the W3C
// recommendation asks.
func ParseEnvelope(h map[string][]string) (Envelope, error) {
	e, err := parseEnvelope(h)
	if err != nil {
		// Whoever tells of it must name the intent, and who is to mend it.
		return Envelope{
			ID:     singleValue(h, HeaderMsgID, idRule),
			Source: singleValue(h, HeaderSource, sourceRule),
		}, err
	}
	return e, nil
}

// singleValue is the value of a header if it is given once and is valid.
func singleValue(h map[string][]string, at string, rule func(string) string) string {
	var values []string
	for name, v := range h {
		if strings.EqualFold(name, at) {
			values = append(values, v...)
		}
	}
	if len(values) != 1 || rule(values[0]) != "" {
		return ""
	}
	return values[0]
}

func parseEnvelope(h map[string][]string) (Envelope, error) {
	var (
		e       Envelope
		found   [len(headers)][]string
		unknown string
	)
	for name, values := range h {
		at := headerIndex(name)
		switch {
		case at >= 0:
			header := headers[at].name
			if len(found[at]) > 0 && len(values) > 0 && header != HeaderTraceparent {
				return Envelope{}, &FieldError{Field: header, Rule: "given in two spellings"}
			}
			found[at] = slices.Concat(found[at], values)
		case isKefu(name) && (unknown == "" || name < unknown):
			unknown = name // The least, so that the same headers give the same error.
		}
	}
	if unknown != "" {
		return Envelope{}, unknownHeader(unknown)
	}
	for at, header := range headers {
		values := found[at]
		if len(values) > 1 {
			if header.name == HeaderTraceparent {
				continue
			}
			rule := "given " + strconv.Itoa(len(values)) + " times"
			return Envelope{}, &FieldError{Field: header.name, Rule: rule}
		}
		for _, value := range values {
			if rule := header.parse(&e, value); rule != "" {
				return Envelope{}, &FieldError{Field: header.name, Rule: rule}
			}
		}
	}
	return e, nil
}

func headerIndex(name string) int {
	for i := range headers {
		if strings.EqualFold(headers[i].name, name) {
			return i
		}
	}
	return -1
}

const kefuPrefix = "Kefu-"

func isKefu(name string) bool {
	return len(name) >= len(kefuPrefix) && strings.EqualFold(name[:len(kefuPrefix)], kefuPrefix)
}

// unknownHeader is the error for a Kefu-* header that may not stand here. It shows the name, which
// is what the producer must correct, unless that is no sane header name.
func unknownHeader(name string) *FieldError {
	for _, own := range reserved {
		if strings.EqualFold(own, name) {
			return &FieldError{Field: own, Rule: "reserved for kefu"}
		}
	}
	isOdd := func(r rune) bool { return r >= 0x80 || !isWord(byte(r)) && r != '-' }
	if len(name) > 40 || strings.ContainsFunc(name, isOdd) {
		name = kefuPrefix + "…"
	}
	const known = HeaderExpiresAt + ", " + HeaderSendAt + ", " + HeaderUnknown + ", " + HeaderSource
	return &FieldError{Field: name, Rule: "unknown header (known: " + known + ")"}
}

// parseTime reads RFC 3339 by its letter. The zero time of Go passes for that too, but is what a
// producer prints who forgot to set one: taking it for "none" would let the message live for ever.
func parseTime(t *time.Time, value string) string {
	const rule = "must be a time in RFC 3339, as 2026-11-24T08:15:00+08:00, from 1970 to 9999"
	parsed, err := time.Parse(time.RFC3339, value) // Its error quotes the value: not for ours.
	if err != nil || !looksRFC3339(value) {
		return rule
	}
	*t = parsed.UTC()
	if t.Year() < 1970 || t.Year() > 9999 {
		return rule
	}
	return ""
}

// looksRFC3339 refuses what time.Parse takes beyond RFC 3339: a comma for the point, an hour of one
// digit, offsets of 24:60.
func looksRFC3339(value string) bool {
	const shape = "0000-00-00T00:00:00"
	if len(value) <= len(shape) || !hasShape(value[:len(shape)], shape) {
		return false
	}
	zone := value[len(shape):]
	if zone[0] == '.' {
		zone = strings.TrimLeft(zone[1:], "0123456789")
	}
	if zone == "Z" {
		return true
	}
	isOffset := hasShape(zone, "+00:00") || hasShape(zone, "-00:00")
	return isOffset && zone[1:3] < "24" && zone[4:6] < "60"
}

// hasShape reports whether s is shape with any digit in the place of each 0.
func hasShape(s, shape string) bool {
	if len(s) != len(shape) {
		return false
	}
	for i := range len(s) {
		if s[i] != shape[i] && (shape[i] != '0' || s[i] < '0' || s[i] > '9') {
			return false
		}
	}
	return true
}

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func (e *Envelope) parseUnknown(value string) string {
	e.Unknown = UnknownPolicy(value)
	if e.Unknown != PolicyResend && e.Unknown != PolicyPark {
		return "must be resend or park"
	}
	return ""
}

func sourceRule(value string) string {
	isOdd := func(r rune) bool { return r <= ' ' || r > '~' }
	if value == "" || len(value) > 64 || strings.ContainsFunc(value, isOdd) {
		return "must be 1 to 64 bytes of printable ASCII without blanks"
	}
	return ""
}

// parseTraceparent returns a W3C traceparent as version 00, or "" when it is not valid: of a later
// version the first four fields are the same and what follows them is not ours to hand on.
func parseTraceparent(v string) string {
	const length = 55 // 00-(32 hex digits)-(16 hex digits)-(2 hex digits)
	if len(v) < length || v[2] != '-' || v[35] != '-' || v[52] != '-' {
		return ""
	}
	version, trace, parent, flags := v[:2], v[3:35], v[36:52], v[53:length]
	switch {
	case !isHex(version) || !isHex(trace) || !isHex(parent) || !isHex(flags):
		return ""
	case version == "ff", strings.Trim(trace, "0") == "", strings.Trim(parent, "0") == "":
		return ""
	case len(v) > length && (version == "00" || v[length] != '-'):
		return ""
	}
	return "00" + v[2:length]
}

func isHex(s string) bool {
	isOther := func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') }
	return !strings.ContainsFunc(s, isOther)
}

// Header returns the headers that a producer sets: the id in Nats-Msg-Id, and the others that are
// given. [ParseEnvelope] gives e back.
func (e Envelope) Header() map[string][]string {
	h := make(map[string][]string, 8)
	set := func(name, value string) {
		if value != "" {
			h[name] = []string{value}
		}
	}
	set(HeaderMsgID, e.ID)
	if !e.ExpiresAt.IsZero() {
		set(HeaderExpiresAt, formatTime(e.ExpiresAt))
	}
	if !e.SendAt.IsZero() {
		set(HeaderSendAt, formatTime(e.SendAt))
	}
	set(HeaderUnknown, string(e.Unknown))
	set(HeaderSource, e.Source)
	set(HeaderTraceparent, e.Traceparent)
	return h
}

// Check tells whether e makes headers that [ParseEnvelope] accepts. The error is a [*FieldError].
func (e Envelope) Check() error {
	_, err := ParseEnvelope(e.Header())
	return err
}
