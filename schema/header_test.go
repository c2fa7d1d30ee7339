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
)

func TestParseEnvelopeOfAProducer(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, time.November, 24, 0, 15, 0, 0, time.UTC)
	for _, tt := range []struct {
		name   string
		header map[string][]string
		want   schema.Envelope
	}{
		{"no headers", nil, schema.Envelope{}},
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
				ID: "order 7", ExpiresAt: at, SendAt: at.Add(1), Unknown: schema.PolicyPark,
				Source: "shop", Traceparent: traceparent,
			},
		},
		{
			"any letter case",
			map[string][]string{
				"nats-msg-id": {"1"}, "KEFU-EXPIRES-AT": {"2026-11-24T00:15:00Z"},
				"kefu-unknown": {"resend"}, "kEFU-sOURCE": {"a"}, "Traceparent": {traceparent},
			},
			schema.Envelope{ID: "1", ExpiresAt: at, Unknown: schema.PolicyResend, Source: "a",
				Traceparent: traceparent},
		},
		{
			"headers of others",
			map[string][]string{"Nats-Expected-Stream": {"x"}, "X-Kefu-Unknown": {"x"},
				"Content-Type": {"a", "b"}, "": {"x"}},
			schema.Envelope{},
		},
		{
			"a header without values",
			map[string][]string{"Kefu-Source": {}, "kefu-source": {"a"}},
			schema.Envelope{Source: "a"},
		},
		{
			"sent later than it expires",
			map[string][]string{"Kefu-Expires-At": {"2026-11-24T00:15:00Z"},
				"Kefu-Send-At": {"2026-11-24T01:15:00Z"}},
			schema.Envelope{ExpiresAt: at, SendAt: at.Add(time.Hour)},
		},
		{
			"never expires",
			map[string][]string{"Kefu-Expires-At": {"9999-12-31T23:59:59Z"}},
			schema.Envelope{ExpiresAt: time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)},
		},
		{
			"two traceparents are none",
			map[string][]string{"traceparent": {traceparent}, "Traceparent": {traceparent}},
			schema.Envelope{},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, err := schema.ParseEnvelope(tt.header)
			require.NoError(t, err)
			require.Equal(t, tt.want, e)
			require.NoError(t, e.Check())
			back, err := schema.ParseEnvelope(e.Header())
			require.NoError(t, err)
			require.Equal(t, e, back)
		})
	}
}

func TestParseEnvelopeRefuses(t *testing.T) {
	t.Parallel()
	const (
		whenRule = ": must be a time in RFC 3339, as 2026-11-24T08:15:00+08:00, from 1970 to 9999"
		known    = ": unknown header (known: Kefu-Expires-At, Kefu-Send-At, Kefu-Unknown, Kefu-Source)"
	)
	type header = map[string][]string
	for _, tt := range []struct {
		name   string
		header header
		want   string
	}{
		{"an empty id", header{"Nats-Msg-Id": {""}}, "Nats-Msg-Id: empty, 1 to 128 bytes"},
		{"an id beyond ASCII", header{"nats-msg-id": {"订单"}},
			"Nats-Msg-Id: must be printable ASCII"},
		{"an id of kefu's own", header{"Nats-Msg-Id": {"wx1·1·1"}},
			"Nats-Msg-Id: must be printable ASCII"},
		{"two ids", header{"Nats-Msg-Id": {"1", "1"}}, "Nats-Msg-Id: given 2 times"},
		{"two ids in two spellings", header{"Nats-Msg-Id": {"1"}, "Nats-Msg-ID": {"1"}},
			"Nats-Msg-Id: given in two spellings"},
		{"a time without zone", header{"Kefu-Expires-At": {"2026-11-24T00:15:00"}},
			"Kefu-Expires-At" + whenRule},
		{"a time with a comma", header{"Kefu-Expires-At": {"2026-11-24T00:15:00,5Z"}},
			"Kefu-Expires-At" + whenRule},
		{"a time of one digit", header{"Kefu-Expires-At": {"2026-11-24T0:15:00Z"}},
			"Kefu-Expires-At" + whenRule},
		{"a time without fraction", header{"Kefu-Expires-At": {"2026-11-24T00:15:00.Z"}},
			"Kefu-Expires-At" + whenRule},
		{"a zone that is none", header{"Kefu-Expires-At": {"2026-11-24T00:15:00+24:00"}},
			"Kefu-Expires-At" + whenRule},
		{"a zone of 60 minutes", header{"Kefu-Expires-At": {"2026-11-24T00:15:00+08:60"}},
			"Kefu-Expires-At" + whenRule},
		{"a zone without colon", header{"Kefu-Expires-At": {"2026-11-24T00:15:00+0800"}},
			"Kefu-Expires-At" + whenRule},
		{"a blank for the T", header{"Kefu-Expires-At": {"2026-11-24 00:15:00Z"}},
			"Kefu-Expires-At" + whenRule},
		{"a day that is none", header{"Kefu-Expires-At": {"2026-02-30T00:15:00Z"}},
			"Kefu-Expires-At" + whenRule},
		{"a duration", header{"Kefu-Send-At": {"5m"}}, "Kefu-Send-At" + whenRule},
		{"a Unix time", header{"Kefu-Send-At": {"1795500000"}}, "Kefu-Send-At" + whenRule},
		{"an empty time", header{"Kefu-Send-At": {""}}, "Kefu-Send-At" + whenRule},
		{"a time with a blank", header{"Kefu-Send-At": {" 2026-11-24T00:15:00Z"}},
			"Kefu-Send-At" + whenRule},
		{"the zero time of Go", header{"Kefu-Expires-At": {"0001-01-01T00:00:00Z"}},
			"Kefu-Expires-At" + whenRule},
		{"a time beyond 9999 in UTC", header{"Kefu-Expires-At": {"9999-12-31T23:59:59-01:00"}},
			"Kefu-Expires-At" + whenRule},
		{"another policy", header{"Kefu-Unknown": {"retry"}},
			"Kefu-Unknown: must be resend or park"},
		{"a policy in capitals", header{"Kefu-Unknown": {"Park"}},
			"Kefu-Unknown: must be resend or park"},
		{"an empty source", header{"Kefu-Source": {""}},
			"Kefu-Source: must be 1 to 64 bytes of printable ASCII without blanks"},
		{"a source with a blank", header{"Kefu-Source": {"a b"}},
			"Kefu-Source: must be 1 to 64 bytes of printable ASCII without blanks"},
		{"a source beyond ASCII", header{"Kefu-Source": {"店"}},
			"Kefu-Source: must be 1 to 64 bytes of printable ASCII without blanks"},
		{"a source of other bytes", header{"Kefu-Source": {"\xFF"}},
			"Kefu-Source: must be 1 to 64 bytes of printable ASCII without blanks"},
		{"a source too long", header{"Kefu-Source": {strings.Repeat("a", 65)}},
			"Kefu-Source: must be 1 to 64 bytes of printable ASCII without blanks"},
		{"a typo", header{"Kefu-Expire-At": {"2026-11-24T00:15:00Z"}}, "Kefu-Expire-At" + known},
		{"a typo in capitals", header{"KEFU-EXPIRE-AT": {}}, "KEFU-EXPIRE-AT" + known},
		{"two typos", header{"Kefu-B": {}, "Kefu-A": {}, "Kefu-C": {}}, "Kefu-A" + known},
		{"a header of nothing but Kefu", header{"Kefu-": {}}, "Kefu-" + known},
		{"a header name that is a text", header{"Kefu-您好": {}}, "Kefu-…" + known},
		{"a header name without end", header{"Kefu-" + strings.Repeat("a", 100): {}},
			"Kefu-…" + known},
		{"a header of kefu's own", header{"kefu-attempt": {"1"}},
			"Kefu-Attempt: reserved for kefu"},
		{"a target of a producer", header{"Kefu-Target": {"x"}}, "Kefu-Target: reserved for kefu"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, err := schema.ParseEnvelope(tt.header)
			require.EqualError(t, err, tt.want)
			e.ID = "" // see TestABrokenEnvelopeStillHasItsID
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
			e, err := schema.ParseEnvelope(map[string][]string{"traceparent": {tt.value}})
			require.NoError(t, err)
			require.Equal(t, tt.want, e.Traceparent)
		})
	}
}

func TestEnvelopeCheck(t *testing.T) {
	t.Parallel()
	require.NoError(t, schema.Envelope{}.Check())
	require.EqualError(t, schema.Envelope{Source: "a b"}.Check(),
		"Kefu-Source: must be 1 to 64 bytes of printable ASCII without blanks")
	require.ErrorContains(t, schema.Envelope{ExpiresAt: time.Unix(-1, 0)}.Check(),
		"Kefu-Expires-At: must be a time")
	require.EqualError(t, schema.Envelope{Unknown: "never"}.Check(),
		"Kefu-Unknown: must be resend or park")
	require.EqualError(t, schema.Envelope{ID: "a\n"}.Check(),
		"Nats-Msg-Id: must be printable ASCII")
}

func TestABrokenEnvelopeStillHasItsID(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		header map[string][]string
		want   schema.Envelope
	}{
		{"a typo",
			map[string][]string{"nats-msg-id": {"1"}, "Kefu-Expires": {"x"}, "Kefu-Source": {"a"}},
			schema.Envelope{ID: "1", Source: "a"}},
		{"no such id", map[string][]string{"Nats-Msg-Id": {"\n"}}, schema.Envelope{}},
		{"two ids", map[string][]string{"Nats-Msg-Id": {"1"}, "nats-msg-id": {"2"}},
			schema.Envelope{}},
		{"a producer's must not", map[string][]string{"Nats-Msg-Id": {"1"}, "Kefu-Id": {"2"}},
			schema.Envelope{ID: "1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := schema.ParseEnvelope(tt.header)
			require.Error(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}
