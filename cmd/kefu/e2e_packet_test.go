package main_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/schema"
)

// TestWhatSerializersLeaveOutAndMiniProgramsSend publishes packets that are not quite those of the
// API's page for Official Accounts and compares what arrives, with an API that is as strict as it
// can be.
func TestWhatSerializersLeaveOutAndMiniProgramsSend(t *testing.T) {
	t.Parallel()
	const mini = "wx0000000000000002"
	s := stage.New(t, stage.Options{Sandbox: sandbox.Options{Settings: sandbox.Settings{
		Messages: sandbox.MessageSettings{Strict: true},
	}}})
	s.API.SetSecret(mini, stage.CanarySecret)
	s.Configure(fmt.Sprintf("  - {appid: %s, kind: miniprogram, "+
		"limits: {video_thumb: optional}, secret_file: %q}\n",
		mini, filepath.Join(s.Dir, "secret")))
	s.Start()
	receipts := s.Receipts()

	const music, page = `"music":{"musicurl":"http://a/b"`, `"miniprogrampage":{"title":"t"`
	link := `"link":{"title":"t","description":"d","url":"https://a/?b=<1>&c=2",` +
		`"thumb_url":"https://a/图.png"}}`
	rows := []struct {
		app, packet string // without the touser
		arrives     string // "" when it is dead
	}{
		{stage.App, `"msgtype":"text","text":{"content":"a"},"image":null,"customservice":null}`,
			`"msgtype":"text","text":{"content":"a"}}`},
		{stage.App, `"msgtype":"text","text":{"content":"a"},"customservice":{"kf_account":null}}`,
			`"msgtype":"text","text":{"content":"a"}}`},
		{stage.App, `"msgtype":"text","text":{"content":null}}`, ""},
		{
			stage.App,
			`"msgtype":"video","video":{"media_id":"m","thumb_media_id":"t",` +
				`"title":null,"x":1.50}}`,
			`"msgtype":"video","video":{"media_id":"m","thumb_media_id":"t","x":1.50}}`,
		},
		{stage.App, `"msgtype":"video","video":{"media_id":"m"}}`, ""},
		{mini, `"msgtype":"video","video":{"media_id":"m","thumb_media_id":null}}`,
			`"msgtype":"video","video":{"media_id":"m"}}`},
		{
			stage.App, `"msgtype":"music",` + music + `,"thumb_media_id":"t"}}`,
			`"msgtype":"music",` + music + `,"hqmusicurl":"http://a/b","thumb_media_id":"t"}}`,
		},
		{stage.App, `"msgtype":"link",` + link, ""},
		{mini, `"msgtype":"link",` + link, `"msgtype":"link",` + link},
		{stage.App,
			`"msgtype":"miniprogrampage",` + page + `,"pagepath":"p","thumb_media_id":"m"}}`, ""},
		{
			mini, `"msgtype":"miniprogrampage",` + page + `,"pagepath":"p","thumb_media_id":"m"}}`,
			`"msgtype":"miniprogrampage",` + page + `,"pagepath":"p","thumb_media_id":"m"}}`,
		},
	}
	want := map[string]string{}
	for i, row := range rows {
		to := fmt.Sprintf("u%d", i)
		head := fmt.Sprintf(`{"touser":%q,`, to)
		s.Publish("kefu.send."+row.app+".live."+to, head+row.packet, schema.HeaderMsgID, to)
		if row.arrives != "" {
			want[to] = head + row.arrives
		}
	}
	for _, r := range receipts(len(rows)) {
		if want[r.ID] == "" {
			s.Equal(schema.StateDead, r.State, r.ID)
			s.Equal(schema.ReasonInvalid, r.Reason, r.ID)
			continue
		}
		s.Equal(schema.StateSent, r.State, "%s: %s", r.ID, r.Errmsg)
	}
	got := map[string]string{}
	for _, m := range s.API.Newest(sandbox.Filter{Call: "send"}, 100) {
		got[m.OpenID] = strings.TrimSpace(m.Body)
	}
	s.Equal(want, got)
	s.NoError(s.Stop(syscall.SIGTERM))
}
