package replay

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func TestAgainKeepsTheMessage(t *testing.T) {
	t.Parallel()
	l := letter("order-1",
		header("kefu-source", "shop"), header("Kefu-Unknown", "park"), header("X-Request-Id", "r1"),
		header("Kefu-Expires-At", "2026-11-26T00:00:00Z"), header("Nats-Expected-Stream", "S"),
		header("Kefu-Send-At", "2026-11-24T11:00:00Z"))
	wire.SetPacket(l, []byte("{ \"touser\" : \"x\",\xff 1.0e2 }")) // whatever it is
	msg, err := again(Options{}, &Item{Letter: *l, Seq: 9}, noon)
	require.NoError(t, err)
	require.Equal(t, "kefu.again."+app+".live."+openid, msg.Subject)
	require.Equal(t, l.Packet(), msg.Data)
	require.Equal(t, wire.ReplayMsgID(app, "order-1", 2, 9), msg.Header.Get("Nats-Msg-Id"))
	require.Equal(t, []string{"r1"}, msg.Header["X-Request-Id"])
	require.NotContains(t, msg.Header, "Nats-Expected-Stream")

	env, err := wire.ParseEnvelope(msg.Header, true)
	require.NoError(t, err)
	require.Equal(t, wire.Envelope{
		Envelope: schema.Envelope{
			ID: "order-1", Source: "shop", Unknown: schema.PolicyPark,
			ExpiresAt: time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC),
		},
		Generation: 2, Attempt: 1, PublishedAt: l.PublishedAt,
	}, env)
}

func TestAgainOfWhatWasRetried(t *testing.T) {
	t.Parallel()
	before := wire.Envelope{
		Envelope: schema.Envelope{ID: "order-1", Source: "shop"}, Generation: 3, Attempt: 4,
		PublishedAt: noon.Add(-time.Hour),
		Tried:       []schema.Attempt{{Number: 3, At: noon, Outcome: "busy"}},
	}
	l := letter("order-1", bulk("c"))
	l.Subject, l.Generation = "kefu.again."+app+".bulk.c", 3
	l.Headers = before.Header()
	msg, err := again(Options{ExpiresIn: time.Hour}, &Item{Letter: *l}, noon)
	require.NoError(t, err)
	require.Equal(t, "kefu.again."+app+".bulk.c", msg.Subject)
	env, err := wire.ParseEnvelope(msg.Header, true)
	require.NoError(t, err)
	require.Equal(t, wire.Envelope{
		Envelope:   schema.Envelope{ID: "order-1", Source: "shop", ExpiresAt: noon.Add(time.Hour)},
		Generation: 4, Attempt: 1, PublishedAt: before.PublishedAt,
	}, env)
}

func TestNewIDs(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 128)
	for _, id := range []string{"order-1", long} {
		item := &Item{Letter: *letter(id, of(schema.ReasonIDReuse)), Seq: 9}
		_, err := again(Options{}, item, noon)
		require.ErrorIs(t, err, refuseForeignID)
		msg, err := again(Options{NewIDs: true}, item, noon)
		require.NoError(t, err)
		env, err := wire.ParseEnvelope(msg.Header, true)
		require.NoError(t, err)
		require.Equal(t, 1, env.Generation)
		require.NotEqual(t, id, env.ID)
		require.True(t, strings.HasSuffix(env.ID, "~7"))
		require.Equal(t, wire.ReplayMsgID(app, env.ID, 1, 9), msg.Header.Get("Nats-Msg-Id"))
	}
	msg, err := again(Options{NewIDs: true}, &Item{Letter: *letter("mine")}, noon)
	require.NoError(t, err)
	require.Equal(t, "mine", msg.Header.Get("Kefu-Id"), "an id that is its own stays")
}

func TestForesee(t *testing.T) {
	t.Parallel()
	settings := Known{Apps: map[string]App{app: {ExpireAfter: 48 * time.Hour}}}
	held := Known{Apps: map[string]App{app: {Held: "paused by ann"}}}
	tests := []struct {
		name    string
		letter  *schema.Letter
		known   Known
		options Options
		at      time.Duration // after noon
		noQueue bool
		want    Fate
		why     string
	}{
		{"busy then, so it may pass now",
			letter("a"), settings, Options{}, 0, false, WillBeSent, ""},
		{"an unknown outcome is worth a try",
			letter("a", of(schema.ReasonUnknown)), settings, Options{}, 0, false, WillBeSent,
			""},
		{"its app is held", letter("a"), held, Options{}, 0, false, WillWait, "paused by ann"},
		{"its app has no queue", letter("a"), Known{}, Options{}, 0, true, CannotBe,
			string(refuseNoQueue)},
		{"its own deadline has passed",
			letter("a", header("Kefu-Expires-At", "2026-11-24T11:59:59Z")), Known{}, Options{}, 0, false,
			WillExpire, string(refuseExpired)},
		{"the app's deadline has passed",
			letter("a", published(noon.Add(-48*time.Hour))), settings, Options{}, 0, false,
			WillExpire, string(refuseExpired)},
		{"its own deadline wins over the app's",
			letter("a", published(noon.Add(-48*time.Hour)),
				header("Kefu-Expires-At", "2026-12-01T00:00:00Z")),
			settings, Options{}, 0, false, WillBeSent, ""},
		{"its deadline passes before its turn",
			letter("a", header("Kefu-Expires-At", "2026-11-24T12:10:00Z")), Known{}, Options{},
			20 * time.Minute, false, WillExpire,
			"its deadline passes before its turn comes: raise the rate or give a new one"},
		{"a new deadline saves it",
			letter("a", of(schema.ReasonExpired), published(noon.Add(-48*time.Hour))),
			settings, Options{ExpiresIn: time.Hour}, 0, false, WillBeSent, ""},
		{"the API refused the message",
			letter("a", of(schema.ReasonRejected), code(40007)), Known{}, Options{}, 0, false, SameAgain,
			"40007: "},
		{"the API refused the user",
			letter("a", of(schema.ReasonRecipient), code(45015)), Known{}, Options{}, 0, false, SameAgain,
			"45015: "},
		{"a final code that the table has learned to retry",
			letter("a", of(schema.ReasonRejected), code(-1)), Known{}, Options{}, 0, false, WillBeSent, ""},
		{"a packet that is still invalid",
			letter("a", of(schema.ReasonInvalid),
				func(l *schema.Letter) { wire.SetPacket(l, []byte("{}")) }),
			Known{}, Options{}, 0, false, SameAgain, "msgtype"},
		{"a packet that a new limit allows",
			letter("a", of(schema.ReasonInvalid)), Known{}, Options{}, 0, false, WillBeSent, ""},
		{"a packet that is another recipient's",
			letter("a", of(schema.ReasonInvalid), func(l *schema.Letter) {
				l.Subject = "kefu.send." + app + ".live.oX"
			}),
			Known{}, Options{}, 0, false, SameAgain, "touser"},
		{"what stopped the worker",
			letter("a", of(schema.ReasonPoison)), Known{}, Options{}, 0, false, SameAgain, "three times"},
		{"an id that is another's",
			letter("a", of(schema.ReasonIDReuse)), Known{}, Options{}, 0, false, CannotBe,
			string(refuseForeignID)},
		{"a subject that is none", letter("a", of(schema.ReasonInvalid), func(l *schema.Letter) {
			l.Subject = "kefu.send." + app + ".live.a b"
		}),
			Known{}, Options{}, 0, false, CannotBe,
			"its subject cannot be published to: openid must be 1 to 128 of A-Z a-z 0-9 _ -"},
		{"a header that is not valid",
			letter("a", of(schema.ReasonInvalid), header("Kefu-Expire-At", "2026")), Known{}, Options{}, 0,
			false, CannotBe, "its headers are not valid: Kefu-Expire-At"},
		{"a send-at that lies ahead",
			letter("a", header("Kefu-Send-At", "2026-11-24T13:00:00Z")), Known{}, Options{}, 0, false,
			CannotBe, string(refuseTooEarly)},
		{"another app's subject",
			letter("a", func(l *schema.Letter) { l.AppID = "wx2" }), Known{}, Options{}, 0, false, CannotBe,
			string(refuseOtherApp)},
		{"one replayed beyond what can be counted",
			letter("a", func(l *schema.Letter) { l.Generation = 65535 }), Known{}, Options{}, 0, false,
			CannotBe, string(refuseTooOften)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			item := &Item{Letter: *tt.letter}
			p := assessment{
				target: targetOf(item, false), action: publishLetter, queue: !tt.noQueue,
			}
			at := noon.Add(tt.at)
			packet, err := tt.options.packet(item)
			require.NoError(t, err)
			v := tt.known.verdict(item, packet, p, tt.options, at)
			fate, why := tt.known.foresee(item, v, tt.options, noon, at)
			require.Equal(t, tt.want, fate, why)
			require.Contains(t, why, tt.why)
			if tt.why == "" {
				require.Empty(t, why)
			}
		})
	}
	broken := &Item{Broken: true}
	v := Known{}.verdict(broken, nil, assessment{queue: true}, Options{}, noon)
	fate, why := Known{}.foresee(broken, v, Options{}, noon, noon)
	require.Equal(t, CannotBe, fate)
	require.Equal(t, string(refuseNoLetter), why)
}

func TestAReplayMayMoveLettersToAnotherLane(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	b.bury(letter("live"), letter("bulk", bulk("c")), letter("nobody", bulk("c"),
		func(l *schema.Letter) { l.OpenID = "" }))
	s := b.replay(Filter{IDs: []string{"live"}}, Options{Lane: schema.LaneBulk})
	b.Equal(1, s.Published)
	b.Equal("kefu.again."+app+".bulk.replay", b.queued()[0].Subject)
	b.Empty(b.envelopes()[0].Before, "its campaign is another one")
	s = b.replay(Filter{}, Options{Lane: schema.LaneLive})
	b.Equal([]int{1, 1, 0}, counts(s))
	b.Equal(string(refuseNoRecipient), s.Notes[0].Text)
	subject, err := wire.ParseSubject(b.queued()[1].Subject)
	b.NoError(err)
	b.Equal(wire.Subject{Subject: schema.LiveSubject(app, openid), Again: true}, subject)
}

func TestAReplayTellsHowTheLifeBeforeEndedIfThatIsCounted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		died   time.Duration // ago
		change func(l *schema.Letter)
		ledger Ledger
		newIDs bool
		want   string
	}{
		{"there is no ledger", 0, nil, nil, false, "dead recipient"},
		{
			"the ledger knows", 0, nil,
			remembering{"a": {Generation: 1, Ended: true}}, false, "dead recipient",
		},
		{"the ledger has forgotten", 2 * marksLate, nil, remembering{}, false, "dead recipient"},
		{"the ledger does not know yet", 0, nil, remembering{}, false, ""},
		{
			"it may have been sent", 2 * marksLate,
			func(l *schema.Letter) { l.Reason, l.PossibleDuplicate = schema.ReasonUnknown, true },
			remembering{}, false, "dead unknown possible_duplicate",
		},
		{
			"under an id of its own, as its id went on", 0, nil,
			remembering{"a": {Generation: 2, Ended: true}}, true, "",
		},
		{
			"under an id of its own, which it never had", 0,
			func(l *schema.Letter) { l.Reason = schema.ReasonIDReuse },
			remembering{"a": {Generation: 2, Ended: true}}, true, "dead id-reuse",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, 100)
			l := letter("a")
			l.Reason, l.PublishedAt, l.DiedAt = schema.ReasonRecipient, time.Now(),
				time.Now().Add(-c.died)
			errcode := 45015
			l.Errcode = &errcode
			if c.change != nil {
				c.change(l)
			}
			b.bury(l)
			b.known.Ledger = c.ledger
			b.Equal(1, b.replay(Filter{}, Options{NewIDs: c.newIDs}).Published)
			env := b.envelopes()[0]
			b.Equal(c.want, env.Before)
			b.Equal(c.want != "", env.BeforeErrcode == errcode)
		})
	}
}
