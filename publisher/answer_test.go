package publisher

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

func TestWhatTheBrokerSaysIsUnderstood(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		when   string
		header nats.Header
		data   string
		want   verdict
	}{
		{when: "stored", data: `{"stream":"S","seq":7}`, want: stored},
		{when: "stored, with spaces and a domain", data: `{"stream":"S", "domain":"hub", "seq":7}`, want: stored},
		{when: "stored before", data: `{"stream":"S","seq":7,"duplicate":true}`, want: stored},
		{when: "nobody listens", header: nats.Header{"Status": {"503"}}, want: nobody},
		{when: "a batch has begun", want: begun},
		{when: "too many messages", data: `{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"stream":"S","seq":0}`, want: full},
		{when: "too many bytes", data: `{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"S","seq":0}`, want: full},
		{when: "the store takes no such message", data: `{"error":{"code":503,"err_code":10077,"description":"message to large"},"stream":"S","seq":0}`, want: refused},
		{when: "the account's share is used up", data: `{"error":{"code":400,"err_code":10002,"description":"resource limits exceeded for account"}}`, want: full},
		{when: "the server's storage is used up", data: `{"error":{"code":500,"err_code":10047,"description":"insufficient storage resources available"}}`, want: full},
		{when: "larger than the stream takes", data: `{"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum allowed"}}`, want: large},
		{when: "headers larger than any stream takes", data: `{"error":{"code":400,"err_code":10097,"description":"header size exceeds maximum allowed of 64k"}}`, want: large},
		{when: "the same id is being stored", data: `{"error":{"code":409,"err_code":10158,"description":"duplicate message id is in process"}}`, want: passing},
		{when: "more than the stream can take in", data: `{"error":{"code":429,"err_code":10167,"description":"too many requests"}}`, want: passing},
		{when: "an election", data: `{"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"}}`, want: passing},
		{when: "a server without room steps down", data: `{"error":{"code":503,"err_code":10023,"description":"insufficient resources"}}`, want: passing},
		{when: "a sealed stream", data: `{"error":{"code":400,"err_code":10109,"description":"invalid operation on sealed stream"}}`, want: refused},
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
	a := readAnswer(&nats.Msg{Data: []byte(`{"stream":"KEFU_SEND_wx1", "seq":1042,"batch":"b7","count":1000}`)})
	require.Equal(t, answer{verdict: stored, stream: "KEFU_SEND_wx1", seq: 1042, batch: "b7", count: 1000}, a)
}
