package main_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/schema"
)

// documentPackets are the examples of the customer-service API document, as
// they stand there (the card's without the page's slip of a comma).
var documentPackets = map[string]string{
	"text": `{
    "touser":"OPENID",
    "msgtype":"text",
    "text":
    {
         "content":"Hello World"
    }
}`,
	"image": `{
    "touser":"OPENID",
    "msgtype":"image",
    "image":
    {
      "media_id":"MEDIA_ID"
    }
}`,
	"voice": `{
    "touser":"OPENID",
    "msgtype":"voice",
    "voice":
    {
      "media_id":"MEDIA_ID"
    }
}`,
	"video": `{
    "touser":"OPENID",
    "msgtype":"video",
    "video":
    {
      "media_id":"MEDIA_ID",
      "thumb_media_id":"MEDIA_ID",
      "title":"TITLE",
      "description":"DESCRIPTION"
    }
}`,
	"music": `{
    "touser":"OPENID",
    "msgtype":"music",
    "music":
    {
      "title":"MUSIC_TITLE",
      "description":"MUSIC_DESCRIPTION",
      "musicurl":"MUSIC_URL",
      "hqmusicurl":"HQ_MUSIC_URL",
      "thumb_media_id":"THUMB_MEDIA_ID" 
    }
}`,
	"news": `{
    "touser":"OPENID",
    "msgtype":"news",
    "news":{
        "articles": [
         {
             "title":"Happy Day",
             "description":"Is Really A Happy Day",
             "url":"URL",
             "picurl":"PIC_URL"
         },
         {
             "title":"Happy Day",
             "description":"Is Really A Happy Day",
             "url":"URL",
             "picurl":"PIC_URL"
         }
         ]
    }
}`,
	"wxcard": ` {

  "touser":"OPENID", 
  "wxcard":{              
           "card_id":"123dsdajkasd231jhksad",
           "card_ext":"xxxxxxxxxxxxxxxxxxx"             
            }
}`,
	"text with customservice": `{
    "touser":"OPENID",
    "msgtype":"text",
    "text":
    {
         "content":"Hello World"
    },
    "customservice":
    {
         "kf_account": "test1@kftest"
    }
}`,
}

// The end-to-end tests run the real binary as a user would: a worker process
// with its embedded broker, the sandbox over HTTP, and a plain NATS client.

func TestMain(m *testing.M) { os.Exit(stage.Run(m)) }

func TestEveryPacketOfTheDocumentArrives(t *testing.T) {
	t.Parallel()
	s := stage.New(t, stage.Options{})
	s.Start()
	receipts := s.Receipts()
	for i, name := range slices.Sorted(maps.Keys(documentPackets)) {
		packet := strings.ReplaceAll(documentPackets[name], "OPENID", fmt.Sprintf("OPENID%d", i))
		s.Publish(stage.Live+fmt.Sprintf("OPENID%d", i), packet)
		r := receipts(1)[0]
		s.Equal(schema.StateSent, r.State, "%s: %s %s", name, r.Reason, r.Errmsg)

		want := packet
		if name == "wxcard" { // the document forgets its msgtype; it is sent with it
			want = strings.Replace(packet, `"touser"`, `"msgtype":"wxcard","touser"`, 1)
		}
		got := s.API.Newest(sandbox.Filter{OpenID: fmt.Sprintf("OPENID%d", i)}, 1)
		s.Len(got, 1, name)
		s.JSONEq(want, got[0].Body, name)
		s.False(got[0].Escaped, "%s went out with \\u escapes", name)
	}
	s.NoError(s.Stop(syscall.SIGTERM))
}

func TestWhatIsInvalidNeverReachesTheAPI(t *testing.T) {
	t.Parallel()
	s := stage.New(t, stage.Options{})
	s.Start()
	receipts := s.Receipts()
	articles := func(n int) string {
		article := `{"title":"t","description":"d","url":"u","picurl":"p"},`
		return strings.TrimSuffix(strings.Repeat(article, n), ",")
	}
	s.Publish(stage.Live+"ten",
		`{"touser":"ten","msgtype":"news","news":{"articles":[`+articles(10)+`]}}`)
	s.Equal(schema.StateSent, receipts(1)[0].State, "ten articles are fine")

	const head = `{"touser":"U","msgtype":`
	invalid := map[string]string{
		head + `"news","news":{"articles":[` + articles(11) + `]}}`: "news.articles: 11 " +
			"articles, at most 10",
		head + `"image","image":{}}`:                     "image.media_id: missing",
		head + `"voice","voice":{}}`:                     "voice.media_id: missing",
		head + `"video","video":{"thumb_media_id":"T"}}`: "video.media_id: missing",
		head + `"video","video":{"media_id":"M"}}`:       "video.thumb_media_id: missing",
		head + `"music","music":{"musicurl":"http://a/b",` +
			`"hqmusicurl":"http://a/b"}}`: "music.thumb_media_id: missing",
		head + `"text","text":{"content":"a"},"touser":"V"}`:         "duplicate",
		`{"touser":"other","msgtype":"text","text":{"content":"a"}}`: "touser",
		`not json`: "packet",
	}
	for packet := range invalid {
		s.Publish(stage.Live+"U", packet)
	}
	// A typo must not send a late message.
	s.Publish(stage.Live+"U", documentPackets["text"], "Kefu-Expires", "tomorrow")
	for _, r := range receipts(len(invalid) + 1) {
		s.Equal(schema.StateDead, r.State)
		s.Equal(schema.ReasonInvalid, r.Reason)
	}
	found := map[string]string{}
	for _, l := range s.Letters() {
		s.Equal(schema.ReasonInvalid, l.Reason)
		found[l.Body] = l.Detail
	}
	for packet, why := range invalid {
		s.Contains(found[packet], why, packet)
	}
	s.Contains(found[documentPackets["text"]], "Kefu-Expires")
	s.Equal(map[string]int{"ten": 1}, s.Posts(), "nothing invalid reached the API")
	s.NoError(s.Stop(syscall.SIGTERM))
}

func TestErrcodesLeadToTheirVerdicts(t *testing.T) {
	t.Parallel()
	s := stage.New(t, stage.Options{})
	s.Start()
	receipts := s.Receipts()
	text := func(openID string) string {
		return fmt.Sprintf(`{"touser":%q,"msgtype":"text","text":{"content":"hello"}}`, openID)
	}
	rows := []struct {
		openID   string
		rule     sandbox.Rule
		state    schema.State
		reason   schema.Reason
		attempts int
	}{
		{"errcode0", sandbox.Rule{OpenID: "nobody", Errcode: -1}, schema.StateSent, "", 1},
		{"errcode40003", sandbox.Rule{OpenID: "errcode40003", Errcode: 40003}, schema.StateDead,
			schema.ReasonRecipient, 1},
		{"errcode40007", sandbox.Rule{OpenID: "errcode40007", Errcode: 40007}, schema.StateDead,
			schema.ReasonRejected, 1},
		{"errcode45015", sandbox.Rule{OpenID: "errcode45015", Errcode: 45015}, schema.StateDead,
			schema.ReasonRecipient, 1},
		{"errcode45047", sandbox.Rule{OpenID: "errcode45047", Errcode: 45047}, schema.StateDead,
			schema.ReasonRecipient, 1},
		{"busytwice", sandbox.Rule{OpenID: "busytwice", Errcode: -1, Times: 2}, schema.StateSent,
			"", 3},
	}
	for _, row := range rows {
		s.API.Add(row.rule)
		s.Publish(stage.Live+row.openID, text(row.openID), "Nats-Msg-Id", row.openID)
		r := receipts(1)[0]
		s.Equal(row.openID, r.ID)
		s.Equal(row.state, r.State, row.openID)
		s.Equal(row.reason, r.Reason, row.openID)
		s.Equal(row.attempts, r.Attempts, row.openID)
		s.False(r.PossibleDuplicate, row.openID)
	}

	tokens := s.API.Stats().TokensIssued
	s.API.Add(sandbox.Rule{OpenID: "stale", ExpireTokens: true, Times: 1})
	s.Publish(stage.Live+"stale", text("stale"))
	r := receipts(1)[0]
	s.Equal(schema.StateSent, r.State)
	s.Equal(1, r.Attempts, "a stale token costs no attempt")
	s.Equal(2, s.API.Count(sandbox.Filter{OpenID: "stale"}), "40001, then the same intent again")
	s.Equal(tokens+1, s.API.Stats().TokensIssued, "one more token call")
	s.NoError(s.Stop(syscall.SIGTERM))
}

func TestAHeldAppKeepsItsIntents(t *testing.T) {
	t.Parallel()
	for _, code := range []int{45009, 40164, 40234, 61014} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			s := stage.New(t, stage.Options{})
			rule := sandbox.Rule{Call: "send", Errcode: code}
			if code == 40164 { // the address is refused where the token is fetched
				rule.Call = "token"
				rule.Errmsg = "invalid ip 203.0.113.9 ipv6 ::ffff:203.0.113.9, not in whitelist"
			}
			id := s.API.Add(rule)
			s.Start()
			receipts := s.Receipts()
			const n = 50
			for i := range n {
				s.Publish(stage.Live+fmt.Sprintf("u%d", i),
					fmt.Sprintf(`{"touser":"u%d","msgtype":"text","text":{"content":"hello"}}`, i))
			}
			s.Eventually(func() bool {
				out, _ := s.Kefu("app", "list", "-o", "json")
				return strings.Contains(out, fmt.Sprint(code))
			}, stage.Patience, 200*time.Millisecond,
				"kefu app list does not say why the app is held")
			s.Empty(s.Letters(), "nothing dies of it")
			s.EqualValues(n, s.Queued(), "everything stays queued")

			s.True(s.API.Remove(id))
			_, code := s.Kefu("app", "resume", stage.App)
			s.Equal(0, code)
			for _, r := range receipts(n) {
				s.Equal(schema.StateSent, r.State)
				s.Equal(1, r.Attempts, "a hold costs no attempt")
			}
			s.Empty(s.Letters())
			s.NoError(s.Stop(syscall.SIGTERM))
		})
	}
}
