package schema

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Headers of an intent. Producers may use the first group; the second is kefu's own and honoured on kefu.again only.
const (
	HeaderMsgID       = "Nats-Msg-Id"     // The intent's id, see [CheckID]: the idempotency key.
	HeaderExpiresAt   = "Kefu-Expires-At" // RFC 3339: later than this it is never sent.
	HeaderSendAt      = "Kefu-Send-At"    // RFC 3339: held until then.
	HeaderUnknown     = "Kefu-Unknown"    // An [UnknownPolicy].
	HeaderSource      = "Kefu-Source"     // The publishing service: 1 to 64 bytes of printable ASCII without blanks.
	HeaderTraceparent = "traceparent"     // W3C trace context.

	HeaderID          = "Kefu-Id"           // The intent's id, because Nats-Msg-Id is that of the re-publish.
	HeaderGeneration  = "Kefu-Generation"   // From 1; one more for each replay.
	HeaderAttempt     = "Kefu-Attempt"      // From 1: the attempt that this message is for.
	HeaderPublishedAt = "Kefu-Published-At" // RFC 3339: when the producer published it.
	HeaderTried       = "Kefu-Tried"        // Repeated: one [Attempt] as compact JSON each.
	HeaderTarget      = "Kefu-Target"       // On KEFU_LATER: where it goes when its time has come.
	HeaderHop         = "Kefu-Hop"          // On KEFU_LATER: how often it was put back because its queue was full.
)

// UnknownPolicy says what to do when the request left and no usable answer came. "" is the app's setting.
type UnknownPolicy string

// The policies for an unknown outcome.
const (
	PolicyResend UnknownPolicy = "resend" // Once more, marked as a possible duplicate.
	PolicyPark   UnknownPolicy = "park"   // To the dead letters, for people to decide.
)

// Envelope is what the headers of an intent say. Times are in UTC, and zero when not given; they lie between the years 1970 and 9999,
// which is more than a Unix time in nanoseconds can hold.
type Envelope struct {
	// ID is the intent's id: Nats-Msg-Id, on kefu.again Kefu-Id. It is "" when the producer gave none; then [DefaultID] is it.
	ID string

	ExpiresAt   time.Time     // Later than this it is never sent. It may lie before SendAt: then it never will be.
	SendAt      time.Time     // Held until then.
	Unknown     UnknownPolicy // "" is the app's setting.
	Source      string        // The publishing service, "" when it gave no name.
	Traceparent string        // In the form of version 00; "" when none was given or it is not valid.

	Generation int // From 1. On kefu.send it is 1.
	Attempt    int // From 1: the attempt that this message is for. On kefu.send it is 1.

	PublishedAt time.Time // When the producer published it. It is zero on kefu.send, where the stored time says so.
	Tried       []Attempt // What was tried before this message, on kefu.again.
}

// headers are those that ParseEnvelope reads, in the order in which it reports what is wrong.
var headers = [...]struct {
	name  string
	own   bool // Kefu's own: refused on kefu.send.
	must  bool // Required on kefu.again.
	parse func(e *Envelope, value string) (broken string)
}{
	{name: HeaderMsgID, parse: func(e *Envelope, v string) string { e.ID = v; return idRule(v) }},
	{name: HeaderExpiresAt, parse: func(e *Envelope, v string) string { return parseTime(&e.ExpiresAt, v) }},
	{name: HeaderSendAt, parse: func(e *Envelope, v string) string { return parseTime(&e.SendAt, v) }},
	{name: HeaderUnknown, parse: (*Envelope).parseUnknown},
	{name: HeaderSource, parse: func(e *Envelope, v string) string { e.Source = v; return sourceRule(v) }},
	{name: HeaderTraceparent, parse: func(e *Envelope, v string) string { e.Traceparent = parseTraceparent(v); return "" }},
	{name: HeaderID, own: true, must: true, parse: func(e *Envelope, v string) string { e.ID = v; return idRule(v) }},
	{name: HeaderGeneration, own: true, must: true, parse: func(e *Envelope, v string) string { return parseOrdinal(&e.Generation, v) }},
	{name: HeaderAttempt, own: true, must: true, parse: func(e *Envelope, v string) string { return parseOrdinal(&e.Attempt, v) }},
	{name: HeaderPublishedAt, own: true, parse: func(e *Envelope, v string) string { return parseTime(&e.PublishedAt, v) }},
	{name: HeaderTried, own: true, parse: (*Envelope).parseTried},
	{name: HeaderTarget, own: true, parse: func(*Envelope, string) string { return "" }},
	{name: HeaderHop, own: true, parse: func(*Envelope, string) string { return "" }},
}

// ParseEnvelope reads the headers of an intent; again says that it stands on kefu.again or KEFU_LATER, where kefu's own headers are
// honoured and Nats-Msg-Id is not the intent's. Names may be in any letter case.
//
// A header that comes twice (in whatever case; but for Kefu-Tried), a value that cannot be read, and a Kefu-* header that is not known
// there are errors: a typo in Kefu-Expires-At must not send a late message. The error is a [*FieldError] with the header as Field, and
// the envelope then holds the ID and the source and, with again, the generation, the attempt, what was tried and the time of publication,
// if these can be read, and nothing else. An invalid traceparent is dropped instead, as the W3C recommendation asks.
func ParseEnvelope(h map[string][]string, again bool) (Envelope, error) {
	e, err := parseEnvelope(h, again)
	if err != nil {
		at := HeaderMsgID
		if again {
			at = HeaderID
		}
		// The letter about it must name the intent, what it has cost, and who is to mend it.
		legible := Envelope{ID: sole(h, at, idRule), Source: sole(h, HeaderSource, sourceRule)}
		if again {
			legible.readOwn(h)
		}
		return legible, err
	}
	return e, nil
}

// readOwn reads those of kefu's own headers that can be read.
func (e *Envelope) readOwn(h map[string][]string) {
	for _, header := range headers {
		if !header.own || header.name == HeaderID {
			continue
		}
		for name, values := range h {
			if !strings.EqualFold(name, header.name) || len(values) != 1 && header.name != HeaderTried {
				continue
			}
			for _, value := range values {
				if read := *e; header.parse(&read, value) == "" {
					*e = read
				}
			}
		}
	}
}

// sole is the value of a header if it is given once and is valid.
func sole(h map[string][]string, at string, rule func(string) string) string {
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

func parseEnvelope(h map[string][]string, again bool) (Envelope, error) {
	e := Envelope{Generation: 1, Attempt: 1}
	var found [len(headers)][]string
	stranger := ""
	for name, values := range h {
		at := headerIndex(name)
		switch {
		case at >= 0 && (again || !headers[at].own):
			// Values of Kefu-Tried under two spellings have lost their order, which is as bad as coming twice.
			if len(found[at]) > 0 && len(values) > 0 && headers[at].name != HeaderTraceparent {
				return Envelope{}, &FieldError{Field: headers[at].name, Rule: "given in two spellings"}
			}
			found[at] = slices.Concat(found[at], values)
		case isKefu(name) && (stranger == "" || name < stranger):
			stranger = name // The least, so that the same headers give the same error.
		}
	}
	if stranger != "" {
		return Envelope{}, strangerError(stranger)
	}
	for at, header := range headers {
		if again && header.name == HeaderMsgID {
			continue
		}
		values := found[at]
		switch {
		case len(values) == 0 && again && header.must:
			return Envelope{}, &FieldError{Field: header.name, Rule: "missing"}
		case len(values) > 1 && header.name == HeaderTraceparent:
			continue
		case len(values) > 1 && header.name != HeaderTried:
			return Envelope{}, &FieldError{Field: header.name, Rule: "given " + strconv.Itoa(len(values)) + " times"}
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

// strangerError is the error for a Kefu-* header that may not stand here. It shows the name, which is what the producer must correct,
// unless that is no sane header name.
func strangerError(name string) *FieldError {
	if at := headerIndex(name); at >= 0 {
		return &FieldError{Field: headers[at].name, Rule: "reserved for kefu"}
	}
	sane := len(name) <= 40 && strings.IndexFunc(name, func(r rune) bool { return r >= 0x80 || !isWord(byte(r)) && r != '-' }) < 0
	if !sane {
		name = kefuPrefix + "…"
	}
	return &FieldError{Field: name, Rule: "unknown header (known: " +
		strings.Join([]string{HeaderExpiresAt, HeaderSendAt, HeaderUnknown, HeaderSource}, ", ") + ")"}
}

// parseTime reads RFC 3339 by its letter. The zero time of Go passes for that too, but is what a producer prints who forgot to set one:
// taking it for "none" would let the message live for ever.
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

// looksRFC3339 refuses what time.Parse takes beyond RFC 3339: a comma for the point, an hour of one digit, offsets of 24:60.
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
	return (hasShape(zone, "+00:00") || hasShape(zone, "-00:00")) && zone[1:3] < "24" && zone[4:6] < "60"
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

func parseOrdinal(n *int, value string) string {
	var ok bool
	if *n, ok = parseCount(value); !ok || *n < 1 {
		return "must be a number from 1 to 999999999"
	}
	return ""
}

func (e *Envelope) parseUnknown(value string) string {
	e.Unknown = UnknownPolicy(value)
	if e.Unknown != PolicyResend && e.Unknown != PolicyPark {
		return "must be resend or park"
	}
	return ""
}

func sourceRule(value string) string {
	if value == "" || len(value) > 64 || strings.IndexFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0 {
		return "must be 1 to 64 bytes of printable ASCII without blanks"
	}
	return ""
}

func (e *Envelope) parseTried(value string) string {
	var attempt Attempt
	if err := json.Unmarshal([]byte(value), &attempt); err != nil { // Its error quotes the value: not for ours.
		return "must be an attempt as JSON"
	}
	e.Tried = append(e.Tried, attempt)
	return ""
}

// parseTraceparent returns a W3C traceparent as version 00, or "" when it is not valid: of a later version the first four fields are
// the same and what follows them is not ours to hand on.
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
	return strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') }) < 0
}

// Header returns the headers under which kefu publishes the intent again: the producer's and kefu's own, the id in Kefu-Id. The broker
// message id is left to the publisher, see [ReplayMsgID] and [MovedMsgID]. [ParseEnvelope] gives e back.
func (e Envelope) Header() map[string][]string {
	h := e.public()
	h[HeaderID] = []string{e.ID}
	h[HeaderGeneration] = []string{strconv.Itoa(max(e.Generation, 1))}
	h[HeaderAttempt] = []string{strconv.Itoa(max(e.Attempt, 1))}
	if !e.PublishedAt.IsZero() {
		h[HeaderPublishedAt] = []string{formatTime(e.PublishedAt)}
	}
	for _, attempt := range e.Tried {
		text, err := json.Marshal(attempt)
		if err != nil {
			continue // A duration that is not a number or a time beyond the year 9999: not worth the message.
		}
		h[HeaderTried] = append(h[HeaderTried], string(text))
	}
	return h
}

// SendHeader returns the headers that a producer sets: the id in Nats-Msg-Id, and those public ones that are given.
func (e Envelope) SendHeader() map[string][]string {
	h := e.public()
	if e.ID != "" {
		h[HeaderMsgID] = []string{e.ID}
	}
	return h
}

// ForeignHeader returns the headers of a message that mean nothing to kefu: they stay with the intent. Those that NATS gives a meaning
// to do not: they meant the first publish.
func ForeignHeader(h map[string][]string) map[string][]string {
	var out map[string][]string
	for name, values := range h {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, "kefu-") || strings.HasPrefix(lower, "nats-") || lower == HeaderTraceparent {
			continue
		}
		if out == nil {
			out = make(map[string][]string)
		}
		out[name] = values
	}
	return out
}

// ProducerHeader returns the headers of a message on kefu.again or KEFU_LATER as a producer would set them: the id in Nats-Msg-Id, kefu's
// own and NATS's gone, all others as they are, those that this version does not know too. id may be "".
func ProducerHeader(h map[string][]string, id string) map[string][]string {
	out := make(map[string][]string, len(h))
	for name, values := range h {
		at := headerIndex(name)
		if at >= 0 && headers[at].own || strings.HasPrefix(strings.ToLower(name), "nats-") {
			continue
		}
		out[name] = values
	}
	if id != "" {
		out[HeaderMsgID] = []string{id}
	}
	return out
}

// Check tells whether e, as a producer fills it in, makes headers that [ParseEnvelope] accepts. The error is a [*FieldError].
func (e Envelope) Check() error {
	_, err := ParseEnvelope(e.SendHeader(), false)
	return err
}

func (e Envelope) public() map[string][]string {
	h := make(map[string][]string, 8)
	set := func(name, value string) {
		if value != "" {
			h[name] = []string{value}
		}
	}
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

// Deadline is the time after which an intent is never sent: its Kefu-Expires-At or, when it has none, after from its publication, or
// from its Kefu-Send-At when that is later. Zero when after is zero and no deadline was given.
func (e Envelope) Deadline(published time.Time, after time.Duration) time.Time {
	switch {
	case !e.ExpiresAt.IsZero():
		return e.ExpiresAt
	case after <= 0:
		return time.Time{}
	case e.SendAt.After(published):
		return e.SendAt.Add(after)
	}
	return published.Add(after)
}
