package replay

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

const news = `{"touser":"` + openid + `","msgtype":"news","news":{"articles":[` +
	`{"title":"<双11>","description":"d","url":"https://a/1","picurl":"https://a/ö.jpg",` +
	`"n":1.0e2}]}}`

func TestAChangeOfAPacket(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		changes []string
		want    string // what stands in the place of news
		why     string // why it does not fit
	}{
		"a value is replaced": {
			[]string{`/news/articles/0/picurl=https://b/1.jpg`},
			`{"touser":"` + openid + `","msgtype":"news","news":{"articles":[` +
				`{"title":"<双11>","description":"d","url":"https://a/1",` +
				`"picurl":"https://b/1.jpg","n":1.0e2}]}}`, "",
		},
		"a value that is missing is added": {
			[]string{`/customservice={"kf_account":"a@b"}`},
			news[:len(news)-1] + `,"customservice":{"kf_account":"a@b"}}`, "",
		},
		"a JSON patch": {
			[]string{`[{"op":"test","path":"/msgtype","value":"news"},
				{"op":"remove","path":"/news/articles/0/n"}]`},
			`{"touser":"` + openid + `","msgtype":"news","news":{"articles":[` +
				`{"title":"<双11>","description":"d","url":"https://a/1",` +
				`"picurl":"https://a/ö.jpg"}]}}`, "",
		},
		"a value that looks like JSON is JSON": {
			[]string{`/msgtype="x=y"`, `/news=7`},
			`{"touser":"` + openid + `","msgtype":"x=y","news":7}`, "",
		},
		"a path that is not there": {
			[]string{`/news/articles/3/url=x`}, "", "it has no /news/articles/3/url to change",
		},
		"a test that fails": {
			[]string{`[{"op":"test","path":"/msgtype","value":"text"}]`}, "",
			"/msgtype is not what the change tests for",
		},
	} {
		edit, err := ParseEdit(c.changes...)
		require.NoError(t, err, what)
		stored, err := json.Marshal(edit)
		require.NoError(t, err, what)
		var read Edit
		require.NoError(t, json.Unmarshal(stored, &read), what)
		got, err := read.Apply([]byte(news))
		if c.why != "" {
			require.EqualError(t, err, c.why, what)
			continue
		}
		require.NoError(t, err, what)
		require.Equal(t, c.want, string(got), what)
	}
	got, err := Edit(nil).Apply([]byte("\xff"))
	require.NoError(t, err)
	require.Equal(t, "\xff", string(got), "without changes it may be anything")
}

func TestAChangeThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	for change, why := range map[string]string{
		`title=x`:                                "it begins with neither [ nor /",
		`/title`:                                 "it has no =",
		`[{"op":`:                                "unexpected end",
		`[{"op":"replace","value":1}]`:           "path",
		`[{"op":"polish","path":"/","value":1}]`: "polish",
	} {
		_, err := ParseEdit(change)
		require.ErrorContains(t, err, why, change)
		require.ErrorContains(t, err, "JSON patch", change)
	}
}

func TestALetterIsChangedAndItsOriginalKept(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	l := letter("promo", of(schema.ReasonRejected), code(40009))
	wire.SetPacket(l, []byte(news))
	b.bury(l)
	edit, err := ParseEdit("/news/articles/0/picurl=https://b/1.jpg")
	b.NoError(err)
	s := b.replay(Filter{}, Options{Set: edit})
	b.Equal([]int{1, 0, 0}, counts(s))
	b.Contains(string(b.queued()[0].Data), `"picurl":"https://b/1.jpg"`)

	kept, err := Originals(t.Context(), b.conn, app, "promo")
	b.NoError(err)
	b.Len(kept, 1)
	b.Equal(news, kept[0].Letter.Body)
	b.Equal([]string{s.Job, "ann@desk"}, []string{kept[0].Job, kept[0].By})
	none, err := Originals(t.Context(), b.conn, app, "promo2")
	b.NoError(err)
	b.Empty(none)
}

func TestAChangeThatMakesAPacketInvalidIsRefusedBeforeAnythingIsPublished(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	b.bury(letter("a"), letter("b"))
	for change, want := range map[string][2]string{
		"/text/content=":            {"text.content", "empty"},
		"/msgtype=picture":          {"msgtype", ""},
		"/touser=oSomebodyElse1234": {"touser", ""},
	} {
		edit, err := ParseEdit(change)
		b.NoError(err)
		_, err = NewPlan(t.Context(), b.conn, Request{Options: Options{Set: edit}}, b.known,
			time.Now())
		var invalid *EditError
		b.ErrorAs(err, &invalid, change)
		b.Equal("a", invalid.ID)
		var rule *schema.FieldError
		b.ErrorAs(err, &rule, change)
		b.Equal(want[0], rule.Field, change)
		b.Contains(rule.Rule, want[1], change)
	}
	edit, err := ParseEdit("/image/media_id=x")
	b.NoError(err)
	_, err = NewPlan(t.Context(), b.conn, Request{Options: Options{Set: edit}}, b.known, time.Now())
	b.ErrorContains(err, "a invalid: it has no /image/media_id to change")
	b.False(errors.As(err, new(*schema.FieldError)))
	b.Empty(b.queued())
}
