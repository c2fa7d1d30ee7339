package wire

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kefuhq/kefu/schema"
)

// Headers of kefu's own, honoured on kefu.again only. [schema.ParseEnvelope] refuses them by name.
const (
	// The intent's id, because Nats-Msg-Id is that of the re-publish.
	HeaderID = "Kefu-Id"
	// From 1; one more for each replay.
	HeaderGeneration = "Kefu-Generation"
	// From 1: the attempt that this message is for.
	HeaderAttempt = "Kefu-Attempt"
	// RFC 3339: when the producer published it.
	HeaderPublishedAt = "Kefu-Published-At"
	// Repeated: one [schema.Attempt] as compact JSON each.
	HeaderTried = "Kefu-Tried"
	// On KEFU_LATER: where it goes when its time has come.
	HeaderTarget = "Kefu-Target"
	// On KEFU_LATER: how often it was put back because its queue was full.
	HeaderHop = "Kefu-Hop"

	// HeaderBefore is how the life of the id before this one ended, see [Ended]. It is no Kefu-*
	// header: a worker of an earlier version buries what has one that it does not know, and carries
	// all others along.
	HeaderBefore = "X-Kefu-Before"

	// HeaderBeforeErrcode is the errcode that it died of. It stands beside HeaderBefore, since
	// earlier versions take other words there for none.
	HeaderBeforeErrcode = "X-Kefu-Before-Errcode"

	// HeaderJob is the job that published this generation of the intent. It is no Kefu-* header
	// either.
	HeaderJob = "X-Kefu-Job"
)

// Envelope is what the headers of an intent say, wherever it is queued. Its ID is Nats-Msg-Id on
// kefu.send, Kefu-Id on kefu.again; "" when the producer gave none, then [DefaultID] is it.
type Envelope struct {
	schema.Envelope

	Generation int // From 1. On kefu.send it is 1.
	Attempt    int // From 1: the attempt that this message is for. On kefu.send it is 1.

	// When the producer published it. It is zero on kefu.send, where the stored time says so.
	PublishedAt time.Time
	// What was tried before this message, on kefu.again.
	Tried []schema.Attempt
	// How the life of the id before this one ended, as [Ended] says it; "" when nobody knows.
	Before string
	// The errcode that it died of; 0 when there was none, or nobody knows.
	BeforeErrcode int
	// Job is the id of the job that published this generation, a subject token; "" for none.
	Job string
}

// own are the headers of kefu's own that ParseEnvelope reads, in the order in which it reports what
// is wrong.
var own = [...]struct {
	name  string
	must  bool // Required on kefu.again.
	parse func(e *Envelope, value string) (broken string)
}{
	{HeaderID, true, (*Envelope).parseID},
	{HeaderGeneration, true, (*Envelope).parseGeneration},
	{HeaderAttempt, true, (*Envelope).parseAttempt},
	{HeaderPublishedAt, false, (*Envelope).parsePublishedAt},
	{HeaderTried, false, (*Envelope).parseTried},
	{HeaderTarget, false, func(*Envelope, string) string { return "" }},
	{HeaderHop, false, func(*Envelope, string) string { return "" }},
	{HeaderBefore, false, func(e *Envelope, v string) string { e.Before = v; return "" }},
	{HeaderBeforeErrcode, false, (*Envelope).parseBeforeErrcode},
	{HeaderJob, false, (*Envelope).parseJob},
}

func ownIndex(name string) int {
	for i := range own {
		if strings.EqualFold(own[i].name, name) {
			return i
		}
	}
	return -1
}

// ParseEnvelope reads the headers of an intent as [schema.ParseEnvelope] does; again says that it
// stands on kefu.again or KEFU_LATER, where kefu's own headers are honoured and Nats-Msg-Id is not
// the intent's.
//
// When there is an error the envelope holds the ID and the source and, with again, the generation,
// the attempt, what was tried and the time of publication, if these can be read, and nothing else.
func ParseEnvelope(h map[string][]string, again bool) (Envelope, error) {
	if !again {
		e, err := schema.ParseEnvelope(h)
		if err != nil {
			return Envelope{Envelope: e}, err
		}
		return Envelope{Envelope: e, Generation: 1, Attempt: 1}, nil
	}
	producers := make(map[string][]string, len(h))
	for name, values := range h {
		if ownIndex(name) < 0 && !strings.EqualFold(name, schema.HeaderMsgID) {
			producers[name] = values
		}
	}
	public, err := schema.ParseEnvelope(producers)
	e := Envelope{Envelope: public, Generation: 1, Attempt: 1}
	if err == nil {
		err = e.parseOwn(h)
	}
	if err != nil {
		// The letter about it must name the intent, what it has cost, and who is to mend it.
		legible := Envelope{Envelope: schema.Envelope{Source: public.Source}}
		legible.readOwn(h)
		return legible, err
	}
	return e, nil
}

func (e *Envelope) parseOwn(h map[string][]string) error {
	var found [len(own)][]string
	for name, values := range h {
		at := ownIndex(name)
		if at < 0 {
			continue
		}
		// Values of Kefu-Tried under two spellings have lost their order, which is as bad as coming
		// twice.
		if len(found[at]) > 0 && len(values) > 0 {
			return &schema.FieldError{Field: own[at].name, Rule: "given in two spellings"}
		}
		found[at] = slices.Concat(found[at], values)
	}
	for at, header := range own {
		values := found[at]
		switch {
		case len(values) == 0 && header.must:
			return &schema.FieldError{Field: header.name, Rule: "missing"}
		case len(values) > 1 && header.name != HeaderTried:
			rule := "given " + strconv.Itoa(len(values)) + " times"
			return &schema.FieldError{Field: header.name, Rule: rule}
		}
		for _, value := range values {
			if rule := header.parse(e, value); rule != "" {
				return &schema.FieldError{Field: header.name, Rule: rule}
			}
		}
	}
	return nil
}

// readOwn reads those of kefu's own headers that can be read.
func (e *Envelope) readOwn(h map[string][]string) {
	for _, header := range own {
		values := valuesOf(h, header.name)
		if len(values) != 1 && header.name != HeaderTried {
			continue
		}
		for _, value := range values {
			if read := *e; header.parse(&read, value) == "" {
				*e = read
			}
		}
	}
}

// valuesOf returns the values of a header under all its spellings.
func valuesOf(h map[string][]string, header string) (values []string) {
	for name, v := range h {
		if strings.EqualFold(name, header) {
			values = append(values, v...)
		}
	}
	return values
}

func (e *Envelope) parseID(value string) string {
	var err *schema.FieldError
	if errors.As(schema.CheckID(value), &err) {
		return err.Rule
	}
	e.ID = value
	return ""
}

func (e *Envelope) parseGeneration(v string) string { return parseOrdinal(&e.Generation, v) }
func (e *Envelope) parseAttempt(v string) string    { return parseOrdinal(&e.Attempt, v) }

func parseOrdinal(n *int, value string) string {
	const most = 999_999_999
	read, err := strconv.Atoi(value)
	if err != nil || read < 1 || read > most || strconv.Itoa(read) != value {
		return "must be a number from 1 to " + strconv.Itoa(most)
	}
	*n = read
	return ""
}

// parsePublishedAt is less strict than schema is with a producer's times: kefu wrote this one.
func (e *Envelope) parsePublishedAt(value string) string {
	at, err := time.Parse(time.RFC3339, value) // Its error quotes the value: not for ours.
	if at = at.UTC(); err != nil || at.Year() < 1970 || at.Year() > 9999 {
		return "must be a time in RFC 3339, as 2026-11-24T08:15:00+08:00, from 1970 to 9999"
	}
	e.PublishedAt = at
	return ""
}

func (e *Envelope) parseTried(value string) string {
	var attempt schema.Attempt
	// Its error quotes the value: not for ours.
	if err := json.Unmarshal([]byte(value), &attempt); err != nil {
		return "must be an attempt as JSON"
	}
	e.Tried = append(e.Tried, attempt)
	return ""
}

// parseBeforeErrcode refuses nothing: what a campaign counts is not worth a message.
func (e *Envelope) parseBeforeErrcode(v string) string {
	if errcode, err := strconv.Atoi(v); err == nil {
		e.BeforeErrcode = errcode
	}
	return ""
}

// parseJob refuses nothing: what a job counts is not worth a message.
func (e *Envelope) parseJob(value string) string {
	if schema.CheckToken(HeaderJob, value) == nil {
		e.Job = value
	}
	return ""
}

// Header returns the headers under which kefu publishes the intent again: the producer's and kefu's
// own, the id in Kefu-Id. The broker message id is left to the publisher, see [ReplayMsgID] and
// [MovedMsgID]. [ParseEnvelope] gives e back.
func (e Envelope) Header() map[string][]string {
	producers := e.Envelope
	producers.ID = ""
	h := producers.Header()
	h[HeaderID] = []string{e.ID}
	h[HeaderGeneration] = []string{strconv.Itoa(max(e.Generation, 1))}
	h[HeaderAttempt] = []string{strconv.Itoa(max(e.Attempt, 1))}
	if !e.PublishedAt.IsZero() {
		h[HeaderPublishedAt] = []string{e.PublishedAt.UTC().Format(time.RFC3339Nano)}
	}
	for _, attempt := range e.Tried {
		text, err := json.Marshal(attempt)
		if err != nil {
			// A duration that is not a number or a time beyond the year 9999: not worth the
			// message.
			continue
		}
		h[HeaderTried] = append(h[HeaderTried], string(text))
	}
	if e.Before != "" {
		h[HeaderBefore] = []string{e.Before}
	}
	if e.BeforeErrcode != 0 {
		h[HeaderBeforeErrcode] = []string{strconv.Itoa(e.BeforeErrcode)}
	}
	if e.Job != "" {
		h[HeaderJob] = []string{e.Job}
	}
	return h
}

// EndedTwice is the last word of Ended when the message may have been sent more than once.
const EndedTwice = "possible_duplicate"

// Ended says in words how a life of an intent's id ended: "dead recipient", "sent
// possible_duplicate".
func Ended(state schema.State, reason schema.Reason, possibleDuplicate bool) string {
	words := string(state)
	if reason != "" {
		words += " " + string(reason)
	}
	if possibleDuplicate {
		words += " " + EndedTwice
	}
	return words
}

// Deadline is the time after which an intent is never sent: its Kefu-Expires-At or, when it has
// none, after from its publication, or from its Kefu-Send-At when that is later. Zero when after is
// zero and no deadline was given.
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

// ForeignHeader returns the headers of a message that mean nothing to kefu: they stay with the
// intent. Those that NATS gives a meaning to do not: they meant the first publish.
func ForeignHeader(h map[string][]string) map[string][]string {
	var out map[string][]string
	for name, values := range h {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, "kefu-") || lower == schema.HeaderTraceparent ||
			ownIndex(name) >= 0 || isNATS(lower) {
			continue
		}
		if out == nil {
			out = make(map[string][]string)
		}
		out[name] = values
	}
	return out
}

// ProducerHeader returns the headers of a message on kefu.again or KEFU_LATER as a producer would
// set them: the id in Nats-Msg-Id, kefu's own and NATS's gone, all others as they are, those that
// this version does not know too. id may be "".
func ProducerHeader(h map[string][]string, id string) map[string][]string {
	out := make(map[string][]string, len(h))
	for name, values := range h {
		if ownIndex(name) >= 0 || isNATS(strings.ToLower(name)) {
			continue
		}
		out[name] = values
	}
	if id != "" {
		out[schema.HeaderMsgID] = []string{id}
	}
	return out
}

func isNATS(lower string) bool { return strings.HasPrefix(lower, "nats-") }
