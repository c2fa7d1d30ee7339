package schema_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

const (
	traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	triedOnce   = `{"n":1,"at":"2026-11-24T00:15:00Z","ms":12.5,"outcome":"busy","errcode":-1,"errmsg":"系统繁忙","worker":"w1"}`
)

func TestParseEnvelopeOfAProducer(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, time.November, 24, 0, 15, 0, 0, time.UTC)
	for _, tt := range []struct {
		name   string
		header map[string][]string
		want   schema.Envelope
	}{
		{"no headers", nil, schema.Envelope{Generation: 1, Attempt: 1}},
		{
			"all headers",
			map[string][]string{
				"Nats-Msg-Id":     {"order 7"},
				"Kefu-Expires-At": {"2026-11-24T08:15:00+08:00"},
				"Kefu-Send-At":    {"2026-11-24T00:15:00.000000001Z"},
				"Kefu-Unknown":    {"park"},
				"Kefu-Source":     {"shop"},
				"traceparent":     {traceparent},
			},
			schema.Envelope{
				ID: "order 7", ExpiresAt: at, SendAt: at.Add(1), Unknown: schema.PolicyPark, Source: "shop", Traceparent: traceparent,
				Generation: 1, Attempt: 1,
			},
		},
		{
			"any letter case",
			map[string][]string{
				"nats-msg-id": {"1"}, "KEFU-EXPIRES-AT": {"2026-11-24T00:15:00Z"}, "kefu-unknown": {"resend"}, "kEFU-sOURCE": {"a"}, "Traceparent": {traceparent},
			},
			schema.Envelope{ID: "1", ExpiresAt: at, Unknown: schema.PolicyResend, Source: "a", Traceparent: traceparent, Generation: 1, Attempt: 1},
		},
		{
			"headers of others",
			map[string][]string{"Nats-Expected-Stream": {"x"}, "X-Kefu-Unknown": {"x"}, "Content-Type": {"a", "b"}, "": {"x"}},
			schema.Envelope{Generation: 1, Attempt: 1},
		},
		{
			"a header without values",
			map[string][]string{"Kefu-Source": {}, "kefu-source": {"a"}},
			schema.Envelope{Source: "a", Generation: 1, Attempt: 1},
		},
		{
			"sent later than it expires",
			map[string][]string{"Kefu-Expires-At": {"2026-11-24T00:15:00Z"}, "Kefu-Send-At": {"2026-11-24T01:15:00Z"}},
			schema.Envelope{ExpiresAt: at, SendAt: at.Add(time.Hour), Generation: 1, Attempt: 1},
		},
		{
			"never expires",
			map[string][]string{"Kefu-Expires-At": {"9999-12-31T23:59:59Z"}},
			schema.Envelope{ExpiresAt: time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC), Generation: 1, Attempt: 1},
		},
		{
			"two traceparents are none",
			map[string][]string{"traceparent": {traceparent}, "Traceparent": {traceparent}},
			schema.Envelope{Generation: 1, Attempt: 1},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, err := schema.ParseEnvelope(tt.header, false)
			require.NoError(t, err)
			require.Equal(t, tt.want, e)
			require.NoError(t, e.Check())
			back, err := schema.ParseEnvelope(e.SendHeader(), false)
			require.NoError(t, err)
			require.Equal(t, e, back)
		})
	}
}

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
	tried := schema.Attempt{Number: 1, At: at, DurationMS: 12.5, Outcome: "busy", Errcode: &busy, Errmsg: "系统繁忙", Worker: "w1"}
	second := tried
	second.Number = 2
	e, err := schema.ParseEnvelope(header, true)
	require.NoError(t, err)
	require.Equal(t, schema.Envelope{
		ID: "order-7", Source: "shop", Generation: 2, Attempt: 3, PublishedAt: at, Tried: []schema.Attempt{tried, second},
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
	back, err := schema.ParseEnvelope(h, true)
	require.NoError(t, err)
	require.Equal(t, e, back)
}

func TestParseEnvelopeRefuses(t *testing.T) {
	t.Parallel()
	const (
		whenRule = ": must be a time in RFC 3339, as 2026-11-24T08:15:00+08:00, from 1970 to 9999"
		known    = ": unknown header (known: Kefu-Expires-At, Kefu-Send-At, Kefu-Unknown, Kefu-Source)"
	)
	type header = map[string][]string
	again := func(name string, values ...string) header {
		h := header{"Kefu-Id": {"1"}, "Kefu-Generation": {"1"}, "Kefu-Attempt": {"1"}}
		h[name] = values
		return h
	}
	for _, tt := range []struct {
		name   string
		header header
		again  bool
		want   string
	}{
		{"an empty id", header{"Nats-Msg-Id": {""}}, false, "Nats-Msg-Id: empty, 1 to 128 bytes"},
		{"an id beyond ASCII", header{"nats-msg-id": {"订单"}}, false, "Nats-Msg-Id: must be printable ASCII"},
		{"an id of kefu's own", header{"Nats-Msg-Id": {schema.ReceiptMsgID("wx1", "1", 1)}}, false, "Nats-Msg-Id: must be printable ASCII"},
		{"two ids", header{"Nats-Msg-Id": {"1", "1"}}, false, "Nats-Msg-Id: given 2 times"},
		{"two ids in two spellings", header{"Nats-Msg-Id": {"1"}, "Nats-Msg-ID": {"1"}}, false, "Nats-Msg-Id: given in two spellings"},
		{"a time without zone", header{"Kefu-Expires-At": {"2026-11-24T00:15:00"}}, false, "Kefu-Expires-At" + whenRule},
		{"a time with a comma", header{"Kefu-Expires-At": {"2026-11-24T00:15:00,5Z"}}, false, "Kefu-Expires-At" + whenRule},
		{"a time of one digit", header{"Kefu-Expires-At": {"2026-11-24T0:15:00Z"}}, false, "Kefu-Expires-At" + whenRule},
		{"a time without fraction", header{"Kefu-Expires-At": {"2026-11-24T00:15:00.Z"}}, false, "Kefu-Expires-At" + whenRule},
		{"a zone that is none", header{"Kefu-Expires-At": {"2026-11-24T00:15:00+24:00"}}, false, "Kefu-Expires-At" + whenRule},
		{"a zone of 60 minutes", header{"Kefu-Expires-At": {"2026-11-24T00:15:00+08:60"}}, false, "Kefu-Expires-At" + whenRule},
		{"a zone without colon", header{"Kefu-Expires-At": {"2026-11-24T00:15:00+0800"}}, false, "Kefu-Expires-At" + whenRule},
		{"a blank for the T", header{"Kefu-Expires-At": {"2026-11-24 00:15:00Z"}}, false, "Kefu-Expires-At" + whenRule},
		{"a day that is none", header{"Kefu-Expires-At": {"2026-02-30T00:15:00Z"}}, false, "Kefu-Expires-At" + whenRule},
		{"a duration", header{"Kefu-Send-At": {"5m"}}, false, "Kefu-Send-At" + whenRule},
		{"a Unix time", header{"Kefu-Send-At": {"1795500000"}}, false, "Kefu-Send-At" + whenRule},
		{"an empty time", header{"Kefu-Send-At": {""}}, false, "Kefu-Send-At" + whenRule},
		{"a time with a blank", header{"Kefu-Send-At": {" 2026-11-24T00:15:00Z"}}, false, "Kefu-Send-At" + whenRule},
		{"the zero time of Go", header{"Kefu-Expires-At": {"0001-01-01T00:00:00Z"}}, false, "Kefu-Expires-At" + whenRule},
		{"a time beyond 9999 in UTC", header{"Kefu-Expires-At": {"9999-12-31T23:59:59-01:00"}}, false, "Kefu-Expires-At" + whenRule},
		{"another policy", header{"Kefu-Unknown": {"retry"}}, false, "Kefu-Unknown: must be resend or park"},
		{"a policy in capitals", header{"Kefu-Unknown": {"Park"}}, false, "Kefu-Unknown: must be resend or park"},
		{"an empty source", header{"Kefu-Source": {""}}, false, "Kefu-Source: must be 1 to 64 bytes of printable ASCII without blanks"},
		{"a source with a blank", header{"Kefu-Source": {"a b"}}, false, "Kefu-Source: must be 1 to 64 bytes of printable ASCII without blanks"},
		{"a source beyond ASCII", header{"Kefu-Source": {"店"}}, false, "Kefu-Source: must be 1 to 64 bytes of printable ASCII without blanks"},
		{"a source of other bytes", header{"Kefu-Source": {"\xFF"}}, false, "Kefu-Source: must be 1 to 64 bytes of printable ASCII without blanks"},
		{"a source too long", header{"Kefu-Source": {strings.Repeat("a", 65)}}, false, "Kefu-Source: must be 1 to 64 bytes of printable ASCII without blanks"},
		{"a typo", header{"Kefu-Expire-At": {"2026-11-24T00:15:00Z"}}, false, "Kefu-Expire-At" + known},
		{"a typo in capitals", header{"KEFU-EXPIRE-AT": {}}, false, "KEFU-EXPIRE-AT" + known},
		{"two typos", header{"Kefu-B": {}, "Kefu-A": {}, "Kefu-C": {}}, false, "Kefu-A" + known},
		{"a header of nothing but Kefu", header{"Kefu-": {}}, false, "Kefu-" + known},
		{"a header name that is a text", header{"Kefu-您好": {}}, false, "Kefu-…" + known},
		{"a header name without end", header{"Kefu-" + strings.Repeat("a", 100): {}}, false, "Kefu-…" + known},
		{"a header of kefu's own", header{"kefu-attempt": {"1"}}, false, "Kefu-Attempt: reserved for kefu"},
		{"a target of a producer", header{"Kefu-Target": {"x"}}, false, "Kefu-Target: reserved for kefu"},

		{"no id on again", header{"Nats-Msg-Id": {"1"}, "Kefu-Generation": {"1"}, "Kefu-Attempt": {"1"}}, true, "Kefu-Id: missing"},
		{"no generation on again", header{"Kefu-Id": {"1"}, "Kefu-Attempt": {"1"}}, true, "Kefu-Generation: missing"},
		{"no attempt on again", header{"Kefu-Id": {"1"}, "Kefu-Generation": {"1"}}, true, "Kefu-Attempt: missing"},
		{"an empty id on again", again("Kefu-Id", ""), true, "Kefu-Id: empty, 1 to 128 bytes"},
		{"generation 0", again("Kefu-Generation", "0"), true, "Kefu-Generation: must be a number from 1 to 999999999"},
		{"attempt 01", again("Kefu-Attempt", "01"), true, "Kefu-Attempt: must be a number from 1 to 999999999"},
		{"attempt +1", again("Kefu-Attempt", "+1"), true, "Kefu-Attempt: must be a number from 1 to 999999999"},
		{"attempt 10^20", again("Kefu-Attempt", "1"+strings.Repeat("0", 20)), true, "Kefu-Attempt: must be a number from 1 to 999999999"},
		{"two attempts", again("Kefu-Attempt", "1", "2"), true, "Kefu-Attempt: given 2 times"},
		{"published at some time", again("Kefu-Published-At", "today"), true, "Kefu-Published-At" + whenRule},
		{"tried something", again("Kefu-Tried", triedOnce, "{oSECRET"), true, "Kefu-Tried: must be an attempt as JSON"},
		{"a typo on again", again("Kefu-Attempts", "1"), true, "Kefu-Attempts" + known},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, err := schema.ParseEnvelope(tt.header, tt.again)
			require.EqualError(t, err, tt.want)
			e.ID = "" // see TestABrokenEnvelopeStillHasItsID
			if tt.again {
				e.Generation, e.Attempt, e.PublishedAt, e.Tried = 0, 0, time.Time{}, nil
			}
			require.Zero(t, e)
			var field *schema.FieldError
			require.ErrorAs(t, err, &field)
		})
	}
}

func TestTraceparent(t *testing.T) {
	t.Parallel()
	rest := traceparent[2:]
	for _, tt := range []struct{ name, value, want string }{
		{"version 00", "00" + rest, traceparent},
		{"a later version", "cc" + rest, traceparent},
		{"a later version with more", "01" + rest + "-what-the-future-will-be-like", traceparent},
		{"a later version with more and no dash", "01" + rest + ".what", ""},
		{"version 00 with more", "00" + rest + "-01", ""},
		{"version ff", "ff" + rest, ""},
		{"a version that is none", "0g" + rest, ""},
		{"capitals", strings.ToUpper("00" + rest), ""},
		{"no trace", "00-00000000000000000000000000000000-b7ad6b7169203331-01", ""},
		{"no parent", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", ""},
		{"too short", traceparent[:54], ""},
		{"other separators", strings.ReplaceAll(traceparent, "-", "_"), ""},
		{"nothing", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, err := schema.ParseEnvelope(map[string][]string{"traceparent": {tt.value}}, false)
			require.NoError(t, err)
			require.Equal(t, tt.want, e.Traceparent)
		})
	}
}

func TestEnvelopeCheck(t *testing.T) {
	t.Parallel()
	require.NoError(t, schema.Envelope{}.Check())
	require.EqualError(t, schema.Envelope{Source: "a b"}.Check(), "Kefu-Source: must be 1 to 64 bytes of printable ASCII without blanks")
	require.ErrorContains(t, schema.Envelope{ExpiresAt: time.Unix(-1, 0)}.Check(), "Kefu-Expires-At: must be a time")
	require.EqualError(t, schema.Envelope{Unknown: "never"}.Check(), "Kefu-Unknown: must be resend or park")
	require.EqualError(t, schema.Envelope{ID: "a\n"}.Check(), "Nats-Msg-Id: must be printable ASCII")
}

func TestAnAttemptThatCannotBeWrittenIsLeftOut(t *testing.T) {
	t.Parallel()
	nan := 0.0
	nan /= nan
	h := schema.Envelope{ID: "1", Tried: []schema.Attempt{{DurationMS: nan}, {Number: 2}}}.Header()
	require.Len(t, h["Kefu-Tried"], 1)
	e, err := schema.ParseEnvelope(h, true)
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
		"the app's time counts from publication":             {schema.Envelope{}, 48 * time.Hour, hours(48)},
		"or from the time it is held until":                  {schema.Envelope{SendAt: hours(100)}, 48 * time.Hour, hours(148)},
		"a send-at in the past changes nothing":              {schema.Envelope{SendAt: hours(-1)}, 48 * time.Hour, hours(48)},
		"its own deadline wins, also over its send-at":       {schema.Envelope{ExpiresAt: hours(1), SendAt: hours(2)}, 48 * time.Hour, hours(1)},
		"an app without a time and an intent without: never": {schema.Envelope{SendAt: hours(1)}, 0, time.Time{}},
	} {
		require.Equal(t, row.want, row.e.Deadline(published, row.after), name)
	}
}

func TestABrokenEnvelopeStillHasItsID(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		header map[string][]string
		again  bool
		want   schema.Envelope
	}{
		{"a typo", map[string][]string{"nats-msg-id": {"1"}, "Kefu-Expires": {"x"}, "Kefu-Source": {"a"}}, false, schema.Envelope{ID: "1", Source: "a"}},
		{"no such id", map[string][]string{"Nats-Msg-Id": {"\n"}}, false, schema.Envelope{}},
		{"two ids", map[string][]string{"Nats-Msg-Id": {"1"}, "nats-msg-id": {"2"}}, false, schema.Envelope{}},
		{"kefu's own", map[string][]string{"Nats-Msg-Id": {"1"}, "Kefu-Id": {"2"}}, true, schema.Envelope{ID: "2"}},
		{"of a later version", map[string][]string{"Kefu-Id": {"2"}, "Kefu-Generation": {"3"}, "Kefu-Attempt": {"4"},
			"Kefu-Tried": {`{"n":3}`, "x"}, "Kefu-Expires-At": {"2026-11-24T08:15:00Z"}, "Kefu-New": {"1"}}, true,
			schema.Envelope{ID: "2", Generation: 3, Attempt: 4, Tried: []schema.Attempt{{Number: 3}}}},
		{"a producer's must not", map[string][]string{"Nats-Msg-Id": {"1"}, "Kefu-Id": {"2"}}, false, schema.Envelope{ID: "1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := schema.ParseEnvelope(tt.header, tt.again)
			require.Error(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}

func TestProducerHeaderIsWhatTheProducerSet(t *testing.T) {
	t.Parallel()
	h := map[string][]string{
		"Kefu-Id": {"1"}, "Kefu-Generation": {"2"}, "Kefu-Attempt": {"2"}, "Kefu-Tried": {"{}", "{}"}, "Kefu-Target": {"x"}, "Kefu-Hop": {"1"},
		"Kefu-Published-At": {"2026-11-24T08:15:00Z"}, "Nats-Msg-Id": {"moved"}, "Nats-Schedule": {"@at"},
		"Kefu-Source": {"crm"}, "kefu-new": {"1"}, "X-Order": {"7", "8"},
	}
	require.Equal(t, map[string][]string{"Nats-Msg-Id": {"1"}, "Kefu-Source": {"crm"}, "kefu-new": {"1"}, "X-Order": {"7", "8"}}, schema.ProducerHeader(h, "1"))
	require.NotContains(t, schema.ProducerHeader(h, ""), "Nats-Msg-Id")
}
