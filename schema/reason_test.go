package schema_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

// The JSON of letters and receipts is read by other teams: these tests hold it still.

func TestLetterJSON(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, time.November, 24, 0, 15, 0, 500_000_000, time.UTC)
	code := 45015
	l := schema.Letter{
		ID: "order-7", AppID: "wx1", Generation: 2, Lane: schema.LaneLive, OpenID: "o1",
		Source: "shop",
		Reason: schema.ReasonRecipient, Detail: "the reply window is closed", Errcode: &code,
		Errmsg: "response out of time limit", RID: "r1", HTTPStatus: 200,
		PossibleDuplicate: true,
		Attempts: []schema.Attempt{
			{Number: 1, At: at, DurationMS: 12.5, Outcome: "unknown", Worker: "w1"},
			{Number: 2, At: at.Add(time.Second), DurationMS: 30, Outcome: "recipient",
				Errcode: &code, Errmsg: "response out of time limit", RID: "r1", HTTPStatus: 200,
				Worker: "w2"},
		},
		Subject: "kefu.send.wx1.live.o1", Sequence: 42,
		Headers:     map[string][]string{"Nats-Msg-Id": {"order-7"}, "Kefu-Source": {"shop"}},
		Body:        `{"touser":"o1"}`,
		PublishedAt: at.Add(-time.Minute), FirstAt: at, LastAt: at.Add(time.Second),
		DiedAt: at.Add(2 * time.Second), Worker: "w2",
	}
	requireJSON(t, l, `{
  "id": "order-7",
  "appid": "wx1",
  "generation": 2,
  "lane": "live",
  "openid": "o1",
  "source": "shop",
  "reason": "recipient",
  "detail": "the reply window is closed",
  "errcode": 45015,
  "errmsg": "response out of time limit",
  "rid": "r1",
  "http_status": 200,
  "possible_duplicate": true,
  "attempts": [
    {
      "n": 1,
      "at": "2026-11-24T00:15:00.5Z",
      "ms": 12.5,
      "outcome": "unknown",
      "worker": "w1"
    },
    {
      "n": 2,
      "at": "2026-11-24T00:15:01.5Z",
      "ms": 30,
      "outcome": "recipient",
      "errcode": 45015,
      "errmsg": "response out of time limit",
      "rid": "r1",
      "http_status": 200,
      "worker": "w2"
    }
  ],
  "subject": "kefu.send.wx1.live.o1",
  "headers": {
    "Kefu-Source": [
      "shop"
    ],
    "Nats-Msg-Id": [
      "order-7"
    ]
  },
  "body": "{\"touser\":\"o1\"}",
  "sequence": 42,
  "published_at": "2026-11-24T00:14:00.5Z",
  "first_at": "2026-11-24T00:15:00.5Z",
  "last_at": "2026-11-24T00:15:01.5Z",
  "died_at": "2026-11-24T00:15:02.5Z",
  "worker": "w2"
}`)
}

func TestLetterJSONOfWhatNeverWasTried(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, time.November, 24, 0, 15, 0, 0, time.UTC)
	l := schema.Letter{
		ID: "20261124T001500.000Z-7", AppID: "wx1", Generation: 1, Lane: schema.LaneBulk,
		Campaign: "spring", Reason: schema.ReasonInvalid,
		Subject: "kefu.send.wx1.bulk.spring", Sequence: 7, PublishedAt: at, DiedAt: at,
		HeadersBase64: []schema.RawHeader{
			{Name: []byte("X-Name"), Value: []byte("ok")},
			{Name: []byte("X-Name"), Value: []byte("\xC4\xE3")},
			{Name: []byte("X-\xFF"), Value: []byte{}},
		},
		BodyBase64: []byte("\xC4\xE3\x00"),
	}
	require.Equal(t, "\xC4\xE3\x00", string(l.Packet()))
	require.Equal(t, map[string][]string{"X-Name": {"ok", "\xC4\xE3"}, "X-\xFF": {""}}, l.Header())
	requireJSON(t, l, `{
  "id": "20261124T001500.000Z-7",
  "appid": "wx1",
  "generation": 1,
  "lane": "bulk",
  "campaign": "spring",
  "reason": "invalid",
  "subject": "kefu.send.wx1.bulk.spring",
  "headers_base64": [
    {
      "name": "WC1OYW1l",
      "value": "b2s="
    },
    {
      "name": "WC1OYW1l",
      "value": "xOM="
    },
    {
      "name": "WC3/",
      "value": ""
    }
  ],
  "body_base64": "xOMA",
  "sequence": 7,
  "published_at": "2026-11-24T00:15:00Z",
  "died_at": "2026-11-24T00:15:00Z"
}`)
}

func TestReceiptJSON(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, time.November, 24, 0, 15, 0, 0, time.UTC)
	zero, code := 0, -1
	requireJSON(t, schema.Receipt{
		ID: "order-7", AppID: "wx1", Generation: 1, State: schema.StateSent, Lane: schema.LaneLive,
		Errcode: &zero, Attempts: 1, PublishedAt: at, SettledAt: at.Add(time.Second),
	}, `{
  "id": "order-7",
  "appid": "wx1",
  "generation": 1,
  "state": "sent",
  "lane": "live",
  "errcode": 0,
  "attempts": 1,
  "published_at": "2026-11-24T00:15:00Z",
  "settled_at": "2026-11-24T00:15:01Z"
}`)
	requireJSON(t, schema.Receipt{
		ID: "order-8", AppID: "wx1", Generation: 3, State: schema.StateDead, Lane: schema.LaneBulk,
		Campaign: "spring", Source: "shop", Reason: schema.ReasonExhausted,
		Errcode: &code, Errmsg: "system error", RID: "r1", Attempts: 6, PossibleDuplicate: true,
		PublishedAt: at, SettledAt: at,
	}, `{
  "id": "order-8",
  "appid": "wx1",
  "generation": 3,
  "state": "dead",
  "lane": "bulk",
  "campaign": "spring",
  "source": "shop",
  "reason": "exhausted",
  "errcode": -1,
  "errmsg": "system error",
  "rid": "r1",
  "attempts": 6,
  "possible_duplicate": true,
  "published_at": "2026-11-24T00:15:00Z",
  "settled_at": "2026-11-24T00:15:00Z"
}`)
}

// requireJSON compares the JSON of v with want, and reads it back.
func requireJSON[V any](t *testing.T, v V, want string) {
	t.Helper()
	text, err := json.MarshalIndent(v, "", "  ")
	require.NoError(t, err)
	require.Equal(t, want, string(text))
	var back V
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, v, back)
}

func TestReasonsAreTheContracts(t *testing.T) {
	t.Parallel()
	require.Equal(t,
		[]schema.Reason{"invalid", "expired", "rejected", "recipient", "exhausted", "unknown",
			"id-reuse", "poison"}, schema.Reasons())
	schema.Reasons()[0] = "changed"
	require.Equal(t, schema.ReasonInvalid, schema.Reasons()[0])
}

func TestTerminalStates(t *testing.T) {
	t.Parallel()
	for state, want := range map[schema.State]bool{
		"queued": false, "waiting": false, "in_flight": false, "sent": true, "dead": true,
		"cancelled": true, "": false,
	} {
		require.Equal(t, want, state.Terminal(), "%s", state)
	}
}
