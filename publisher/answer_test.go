package publisher

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// refusalOf is the broker's answer to a publish that it refuses.
func refusalOf(code, errCode int, description string) string {
	return fmt.Sprintf(`{"error":{"code":%d,"err_code":%d,"description":%q},"stream":"S","seq":0}`,
		code, errCode, description)
}

func TestWhatTheBrokerSaysIsUnderstood(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		when   string
		header nats.Header
		data   string
		want   verdict
	}{
		{when: "stored", data: `{"stream":"S","seq":7}`, want: stored},
		{when: "stored, with spaces and a domain", data: `{"stream":"S", "domain":"hub", "seq":7}`,
			want: stored},
		{when: "stored before", data: `{"stream":"S","seq":7,"duplicate":true}`, want: stored},
		{when: "nobody listens", header: nats.Header{"Status": {"503"}}, want: nobody},
		{when: "a batch has begun", want: begun},
		{when: "too many messages", want: full,
			data: refusalOf(503, 10077, "maximum messages exceeded")},
		{when: "too many bytes", want: full,
			data: refusalOf(503, 10077, "maximum bytes exceeded")},
		{when: "the store takes no such message", want: refused,
			data: refusalOf(503, 10077, "message to large")},
		{when: "the account's share is used up", want: full,
			data: refusalOf(400, 10002, "resource limits exceeded for account")},
		{when: "the server's storage is used up", want: full,
			data: refusalOf(500, 10047, "insufficient storage resources available")},
		{when: "larger than the stream takes", want: large,
			data: refusalOf(400, 10054, "message size exceeds maximum allowed")},
		{when: "headers larger than any stream takes", want: large,
			data: refusalOf(400, 10097, "header size exceeds maximum allowed of 64k")},
		{when: "the same id is being stored", want: passing,
			data: refusalOf(409, 10158, "duplicate message id is in process")},
		{when: "more than the stream can take in", want: passing,
			data: refusalOf(429, 10167, "too many requests")},
		{when: "an election", want: passing,
			data: refusalOf(503, 10008, "JetStream system temporarily unavailable")},
		{when: "a server without room steps down", want: passing,
			data: refusalOf(503, 10023, "insufficient resources")},
		{when: "a sealed stream", want: refused,
			data: refusalOf(400, 10109, "invalid operation on sealed stream")},
		{when: "somebody else's answer", data: `hello`, want: refused},
		{when: "somebody else's JSON", data: `{"ok":true}`, want: refused},
	} {
		t.Run(row.when, func(t *testing.T) {
			t.Parallel()
			a := readAnswer(&nats.Msg{Header: row.header, Data: []byte(row.data)})
			require.Equal(t, row.want, a.verdict)
			if row.want != stored {
				require.Error(t, a.err)
			}
		})
	}
}

func TestAnAnswerTellsWhereItIsStored(t *testing.T) {
	t.Parallel()
	data := []byte(`{"stream":"KEFU_SEND_wx1", "seq":1042,"batch":"b7","count":1000}`)
	want := answer{verdict: stored, stream: "KEFU_SEND_wx1", seq: 1042, batch: "b7", count: 1000}
	require.Equal(t, want, readAnswer(&nats.Msg{Data: data}))
}
