package wire_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

const triedOnce = `{"n":1,"at":"2026-11-24T00:15:00Z","ms":12.5,"outcome":"busy","errcode":-1,` +
	`"errmsg":"系统繁忙","worker":"w1"}`

func TestParseEnvelopeOnAgain(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, time.November, 24, 0, 15, 0, 0, time.UTC)
	busy := -1
	header := map[string][]string{
		"Nats-Msg-Id":       {"wx1·order-7·2·3·0"},
		"Kefu-Id":           {"order-7"},
		"kefu-generation":   {"2"},
		"Kefu-Attempt":      {"3"},
		"Kefu-Published-At": {"2026-11-24T00:15:00Z"},
		"Kefu-Tried":        {triedOnce, strings.Replace(triedOnce, `"n":1`, `"n":2`, 1)},
		"Kefu-Target":       {"kefu.again.wx1.live.o"},
		"Kefu-Hop":          {"1"},
		"Kefu-Source":       {"shop"},
	}
	tried := schema.Attempt{Number: 1, At: at, DurationMS: 12.5, Outcome: "busy", Errcode: &busy,
		Errmsg: "系统繁忙", Worker: "w1"}
	second := tried
	second.Number = 2
	e, err := wire.ParseEnvelope(header, true)
	require.NoError(t, err)
	require.Equal(t, wire.Envelope{
		Envelope: schema.Envelope{ID: "order-7", Source: "shop"}, Generation: 2, Attempt: 3,
		PublishedAt: at, Tried: []schema.Attempt{tried, second},
	}, e)

	h := e.Header()
	require.Equal(t, map[string][]string{
		"Kefu-Id":           {"order-7"},
		"Kefu-Generation":   {"2"},
		"Kefu-Attempt":      {"3"},
		"Kefu-Published-At": {"2026-11-24T00:15:00Z"},
		"Kefu-Tried":        {triedOnce, strings.Replace(triedOnce, `"n":1`, `"n":2`, 1)},
		"Kefu-Source":       {"shop"},
	}, h)
	back, err := wire.ParseEnvelope(h, true)
	require.NoError(t, err)
	require.Equal(t, e, back)
}

func TestHowTheLifeBeforeEndedIsNoProducersBusiness(t *testing.T) {
	t.Parallel()
	e := wire.Envelope{
		Envelope: schema.Envelope{ID: "order-7"}, Generation: 2, Attempt: 1,
		Before: wire.Ended(schema.StateDead, schema.ReasonUnknown, true), BeforeErrcode: 45015,
	}
	h := e.Header()
	require.Equal(t, []string{"dead unknown possible_duplicate"}, h["X-Kefu-Before"])
	require.Equal(t, []string{"45015"}, h["X-Kefu-Before-Errcode"])
	again, err := wire.ParseEnvelope(h, true)
	require.NoError(t, err)
	require.Equal(t, e, again)
	h["X-Kefu-Before-Errcode"] = []string{"none"}
	again, err = wire.ParseEnvelope(h, true)
	require.NoError(t, err)
	require.Zero(t, again.BeforeErrcode)

	h["X-Order"] = []string{"7"}
	require.Equal(t, map[string][]string{"X-Order": {"7"}}, wire.ForeignHeader(h))
	require.NotContains(t, wire.ProducerHeader(h, "1"), "X-Kefu-Before")
	require.NotContains(t, wire.ProducerHeader(h, "1"), "X-Kefu-Before-Errcode")
	sent, err := wire.ParseEnvelope(map[string][]string{"X-Kefu-Before": {"sent"}}, false)
	require.NoError(t, err)
	require.Empty(t, sent.Before)

	// An earlier version knows neither of these two, and lets the one pass.
	require.NoError(t, second(schema.ParseEnvelope(map[string][]string{"X-Kefu-Before": {"sent"}})))
	require.Error(t, second(schema.ParseEnvelope(map[string][]string{"Kefu-Before": {"sent"}})))
}

func TestTheJobThatPublishedAGenerationIsNoProducersBusiness(t *testing.T) {
	t.Parallel()
	type header = map[string][]string
	e := wire.Envelope{
		Envelope: schema.Envelope{ID: "order-7"}, Generation: 2, Attempt: 1, Job: "k3jq7xa2",
	}
	h := e.Header()
	require.Equal(t, []string{"k3jq7xa2"}, h["X-Kefu-Job"])
	again, err := wire.ParseEnvelope(h, true)
	require.NoError(t, err)
	require.Equal(t, e, again)

	// A letter does not keep it, and another job's replay of a letter that does says its own.
	h["X-Order"] = []string{"7"}
	require.Equal(t, header{"X-Order": {"7"}}, wire.ForeignHeader(h))
	require.NotContains(t, wire.ProducerHeader(h, "1"), "X-Kefu-Job")
	require.Empty(t, wire.ForeignHeader(header{"x-kefu-job": {"k3jq7xa2"}}))

	sent, err := wire.ParseEnvelope(header{"X-Kefu-Job": {"k3jq7xa2"}}, false)
	require.NoError(t, err)
	require.Empty(t, sent.Job)

	// No message dies of it.
	for _, value := range []string{"", "a.b", "two words", ">", strings.Repeat("x", 1000)} {
		h["X-Kefu-Job"] = []string{value}
		again, err = wire.ParseEnvelope(h, true)
		require.NoError(t, err, value)
		require.Empty(t, again.Job)
	}

	// An earlier version, which knows it on no subject, lets it pass.
	require.NoError(t, second(schema.ParseEnvelope(header{"X-Kefu-Job": {"k3jq7xa2"}})))
}

func second(_ schema.Envelope, err error) error { return err }

func TestParseEnvelopeOnAgainRefuses(t *testing.T) {
	t.Parallel()
	const whenRule = ": must be a time in RFC 3339, as 2026-11-24T08:15:00+08:00, from 1970 to 9999"
	type header = map[string][]string
	again := func(name string, values ...string) header {
		h := header{"Kefu-Id": {"1"}, "Kefu-Generation": {"1"}, "Kefu-Attempt": {"1"}}
		h[name] = values
		return h
	}
	for _, tt := range []struct {
		name   string
		header header
		want   string
	}{
		{"no id on again",
			header{"Nats-Msg-Id": {"1"}, "Kefu-Generation": {"1"}, "Kefu-Attempt": {"1"}},
			"Kefu-Id: missing"},
		{"no generation on again", header{"Kefu-Id": {"1"}, "Kefu-Attempt": {"1"}},
			"Kefu-Generation: missing"},
		{"no attempt on again", header{"Kefu-Id": {"1"}, "Kefu-Generation": {"1"}},
			"Kefu-Attempt: missing"},
		{"an empty id on again", again("Kefu-Id", ""), "Kefu-Id: empty, 1 to 128 bytes"},
		{"generation 0", again("Kefu-Generation", "0"),
			"Kefu-Generation: must be a number from 1 to 999999999"},
		{"attempt 01", again("Kefu-Attempt", "01"),
			"Kefu-Attempt: must be a number from 1 to 999999999"},
		{"attempt +1", again("Kefu-Attempt", "+1"),
			"Kefu-Attempt: must be a number from 1 to 999999999"},
		{"attempt 10^20", again("Kefu-Attempt", "1"+strings.Repeat("0", 20)),
			"Kefu-Attempt: must be a number from 1 to 999999999"},
		{"two attempts", again("Kefu-Attempt", "1", "2"), "Kefu-Attempt: given 2 times"},
		{"published at some time", again("Kefu-Published-At", "today"),
			"Kefu-Published-At" + whenRule},
		{"tried something", again("Kefu-Tried", triedOnce, "{oSECRET"),
			"Kefu-Tried: must be an attempt as JSON"},
		{"a typo on again", again("Kefu-Attempts", "1"), "Kefu-Attempts" +
			": unknown header (known: Kefu-Expires-At, Kefu-Send-At, Kefu-Unknown, Kefu-Source)"},
		{"a time that is none on again", again("Kefu-Send-At", "x"), "Kefu-Send-At" + whenRule},
		{"one that comes in two spellings", again("kefu-id", "2"),
			"Kefu-Id: given in two spellings"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, err := wire.ParseEnvelope(tt.header, true)
			require.EqualError(t, err, tt.want)
			require.Zero(t, e.SendAt)
			var field *schema.FieldError
			require.ErrorAs(t, err, &field)
		})
	}
}

func TestABrokenEnvelopeStillHasItsID(t *testing.T) {
	t.Parallel()
	type header = map[string][]string
	for _, tt := range []struct {
		name   string
		header map[string][]string
		again  bool
		want   wire.Envelope
	}{
		{"a producer's",
			header{"nats-msg-id": {"1"}, "Kefu-Expires": {"x"}, "Kefu-Source": {"a"}}, false,
			wire.Envelope{Envelope: schema.Envelope{ID: "1", Source: "a"}}},
		{"a producer's with kefu's own",
			header{"Nats-Msg-Id": {"1"}, "Kefu-Id": {"2"}}, false,
			wire.Envelope{Envelope: schema.Envelope{ID: "1"}}},
		{"kefu's own",
			header{"Nats-Msg-Id": {"1"}, "Kefu-Id": {"2"}, "Kefu-Source": {"a"}}, true,
			wire.Envelope{Envelope: schema.Envelope{ID: "2", Source: "a"}}},
		{"two ids", header{"Kefu-Id": {"1"}, "kefu-id": {"2"}}, true, wire.Envelope{}},
		{"of a later version",
			header{
				"Kefu-Id": {"2"}, "Kefu-Generation": {"3"}, "Kefu-Attempt": {"4"},
				"Kefu-Tried":      {`{"n":3}`, "x"},
				"Kefu-Expires-At": {"2026-11-24T08:15:00Z"}, "Kefu-New": {"1"},
			}, true,
			wire.Envelope{
				Envelope: schema.Envelope{ID: "2"}, Generation: 3, Attempt: 4,
				Tried: []schema.Attempt{{Number: 3}},
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := wire.ParseEnvelope(tt.header, tt.again)
			require.Error(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}

func TestAProducerMaySetNoneOfKefusOwnHeaders(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		wire.HeaderID, wire.HeaderGeneration, wire.HeaderAttempt, wire.HeaderPublishedAt,
		wire.HeaderTried,
		wire.HeaderTarget, wire.HeaderHop,
	} {
		_, err := wire.ParseEnvelope(map[string][]string{name: {"1"}}, false)
		require.EqualError(t, err, name+": reserved for kefu")
	}
}

func TestAnAttemptThatCannotBeWrittenIsLeftOut(t *testing.T) {
	t.Parallel()
	nan := 0.0
	nan /= nan
	h := wire.Envelope{
		Envelope: schema.Envelope{ID: "1"}, Tried: []schema.Attempt{{DurationMS: nan}, {Number: 2}},
	}.Header()
	require.Len(t, h["Kefu-Tried"], 1)
	e, err := wire.ParseEnvelope(h, true)
	require.NoError(t, err)
	require.Equal(t, 1, e.Generation)
	require.Equal(t, 1, e.Attempt)
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	published := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	hours := func(n int) time.Time { return published.Add(time.Duration(n) * time.Hour) }
	for name, row := range map[string]struct {
		e     schema.Envelope
		after time.Duration
		want  time.Time
	}{
		"the app's time counts from publication": {schema.Envelope{}, 48 * time.Hour,
			hours(48)},
		"or from the time it is held until": {schema.Envelope{SendAt: hours(100)},
			48 * time.Hour, hours(148)},
		"a send-at in the past changes nothing": {schema.Envelope{SendAt: hours(-1)},
			48 * time.Hour, hours(48)},
		"its own deadline wins, also over its send-at": {
			schema.Envelope{ExpiresAt: hours(1), SendAt: hours(2)}, 48 * time.Hour, hours(1)},
		"an app without a time and an intent without: never": {schema.Envelope{SendAt: hours(1)}, 0,
			time.Time{}},
	} {
		require.Equal(t, row.want, wire.Envelope{Envelope: row.e}.Deadline(published, row.after),
			name)
	}
}

func TestProducerHeaderIsWhatTheProducerSet(t *testing.T) {
	t.Parallel()
	h := map[string][]string{
		"Kefu-Id": {"1"}, "Kefu-Generation": {"2"}, "Kefu-Attempt": {"2"},
		"Kefu-Tried": {"{}", "{}"}, "Kefu-Target": {"x"}, "Kefu-Hop": {"1"},
		"Kefu-Published-At": {"2026-11-24T08:15:00Z"}, "Nats-Msg-Id": {"moved"},
		"Nats-Schedule": {"@at"},
		"Kefu-Source":   {"crm"}, "kefu-new": {"1"}, "X-Order": {"7", "8"},
	}
	require.Equal(t,
		map[string][]string{"Nats-Msg-Id": {"1"}, "Kefu-Source": {"crm"}, "kefu-new": {"1"},
			"X-Order": {"7", "8"}}, wire.ProducerHeader(h, "1"))
	require.NotContains(t, wire.ProducerHeader(h, ""), "Nats-Msg-Id")
}
