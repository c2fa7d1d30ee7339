package schema_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

func TestParseSubject(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 128)
	for _, tt := range []struct {
		subject   string
		want      schema.Subject
		published string
	}{
		{
			"kefu.send.wx1.live.oA_b-1",
			schema.Subject{AppID: "wx1", Lane: schema.LaneLive, Key: "oA_b-1"},
			"kefu.send.wx1.live.oA_b-1",
		},
		{
			"kefu.send.wx1.live.3.oA_b-1",
			schema.Subject{AppID: "wx1", Lane: schema.LaneLive, Key: "oA_b-1"},
			"kefu.send.wx1.live.oA_b-1",
		},
		{
			"kefu.send." + long + ".bulk." + long,
			schema.Subject{AppID: long, Lane: schema.LaneBulk, Key: long},
			"kefu.send." + long + ".bulk." + long,
		},
	} {
		t.Run(tt.subject, func(t *testing.T) {
			t.Parallel()
			s, err := schema.ParseSubject(tt.subject)
			require.NoError(t, err)
			require.Equal(t, tt.want, s)
			require.Equal(t, tt.published, s.String())
		})
	}
}

func TestParseSubjectRefuses(t *testing.T) {
	t.Parallel()
	const (
		form  = "subject: must be kefu.send.<appid>.live.<openid> or kefu.send.<appid>.bulk.<campaign>"
		token = ": must be 1 to 128 of A-Z a-z 0-9 _ -"
	)
	for _, tt := range []struct{ name, subject, want string }{
		{"nothing", "", form},
		{"too few tokens", "kefu.send.wx1.live", form},
		{"too many tokens", "kefu.send.wx1.live.1.o.p", form},
		{"very many tokens", strings.Repeat("kefu.", 10_000), form},
		{"another root", "Kefu.send.wx1.live.o", form},
		{"kefu's own", "kefu.again.wx1.live.o", form},
		{"another verb", "kefu.dead.wx1.live.o", form},
		{"a shard of bulk", "kefu.send.wx1.bulk.1.c", form},
		{"a shard that is no number", "kefu.send.wx1.live.x.o", form},
		{"a shard with a sign", "kefu.send.wx1.live.-1.o", form},
		{"a shard with a leading zero", "kefu.send.wx1.live.01.o", form},
		{"an empty shard", "kefu.send.wx1.live..o", form},
		{"a huge shard", "kefu.send.wx1.live.99999999999999999999.o", form},
		{"another lane", "kefu.send.wx1.slow.o", "lane: must be live or bulk"},
		{"a lane in capitals", "kefu.send.wx1.Live.o", "lane: must be live or bulk"},
		{"an empty appid", "kefu.send..live.o", "appid" + token},
		{"an empty openid", "kefu.send.wx1.live.", "openid" + token},
		{"a wildcard", "kefu.send.wx1.live.*", "openid" + token},
		{"a full wildcard", "kefu.send.wx1.bulk.>", "campaign" + token},
		{"a blank", "kefu.send.wx1.live.a b", "openid" + token},
		{"a line break", "kefu.send.wx1.live.a\r\nPUB x", "openid" + token},
		{"an openid too long", "kefu.send.wx1.live." + strings.Repeat("a", 129), "openid" + token},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := schema.ParseSubject(tt.subject)
			require.EqualError(t, err, tt.want)
		})
	}
}

// crafted are tokens that would leave their place in a subject, or the subject's line on the wire.
var crafted = []string{
	"", ".", "a.b", "*", ">", "a*", "a>", " ", "a b", "\t", "\x00", "a\x00", "\r", "\n",
	"a\r\nPUB x 0\r\n", "中文", "ａ", "é", "\xFF", "a/b", "a:b", "$SYS",
	"·", strings.Repeat("a", 129),
}

func TestCraftedTokensNeverGetIntoASubject(t *testing.T) {
	t.Parallel()
	for _, token := range crafted {
		require.Error(t, schema.CheckToken("appid", token), "%q", token)
		for name, subject := range map[string]string{
			"SendStream":       schema.SendStream(token),
			"DeadSubject":      schema.DeadSubject(token, schema.ReasonExpired),
			"DeadSubject 2":    schema.DeadSubject("wx1", schema.Reason(token)),
			"ReceiptSubject":   schema.ReceiptSubject(token, schema.StateSent),
			"ReceiptSubject 2": schema.ReceiptSubject("wx1", schema.State(token)),
			"an appid":         schema.LiveSubject(token, "o").String(),
			"a lane": schema.Subject{AppID: "wx1", Lane: schema.Lane(token),
				Key: "o"}.String(),
			"an openid":  schema.LiveSubject("wx1", token).String(),
			"a campaign": schema.BulkSubject("wx1", token).String(),
		} {
			require.Empty(t, subject, "%s with %q", name, token)
		}
	}
}

func TestSubjectsOfTheContract(t *testing.T) {
	t.Parallel()
	require.Equal(t, "KEFU_SEND_wx1", schema.SendStream("wx1"))
	require.Equal(t, "kefu.dead.wx1.id-reuse", schema.DeadSubject("wx1", schema.ReasonIDReuse))
	require.Equal(t, "kefu.receipt.wx1.sent", schema.ReceiptSubject("wx1", schema.StateSent))
	for _, r := range schema.Reasons() {
		require.Equal(t, "kefu.dead.wx1."+string(r), schema.DeadSubject("wx1", r))
	}
	for _, s := range []schema.State{
		schema.StateQueued, schema.StateWaiting, schema.StateInFlight,
	} {
		require.Empty(t, schema.ReceiptSubject("wx1", s), "%s is not terminal", s)
	}
}

func TestCheckPacketWantsTheOpenIDOfTheSubject(t *testing.T) {
	t.Parallel()
	p := &schema.Packet{ToUser: "o1"}
	live := schema.LiveSubject("wx1", "o1")
	require.NoError(t, live.CheckPacket(p))
	live.Key = "O1"
	require.EqualError(t, live.CheckPacket(p), "touser: must be the openid of the subject")
	bulk := schema.BulkSubject("wx1", "spring")
	require.NoError(t, bulk.CheckPacket(p))
}

func TestASubjectIsTheOneItsPartsMake(t *testing.T) {
	t.Parallel()
	parsed, err := schema.ParseSubject("kefu.send.wx1.live.o1")
	require.NoError(t, err)
	require.Equal(t, schema.Subject{AppID: "wx1", Lane: schema.LaneLive, Key: "o1"}, parsed)
	require.Equal(t, schema.LiveSubject("wx1", "o1"), parsed)
	parsed, err = schema.ParseSubject("kefu.send.wx1.bulk.spring")
	require.NoError(t, err)
	require.Equal(t, schema.BulkSubject("wx1", "spring"), parsed)
}
