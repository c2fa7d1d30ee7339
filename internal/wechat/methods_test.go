package wechat

import (
	"bytes"
	"context"
	"image"
	"image/jpeg"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/sandbox"
)

const (
	testApp     = "wx0000000000000001"
	testOpenID  = "oOPENID-canary-1234"
	testAccount = "test1@test"
)

// method is one call of the package, made with arguments that are good.
type method struct {
	name string
	path string // with its HTTP method
	call func(ctx context.Context, c *Client) error
}

// methods are all of them: what must hold for every call is tried with each.
var methods = []method{
	{"send", "POST " + SendPath, func(ctx context.Context, c *Client) error {
		return c.Send(ctx, packet)
	}},
	{"typing", "POST " + TypingPath, func(ctx context.Context, c *Client) error {
		return c.Typing(ctx, testOpenID)
	}},
	{"cancel typing", "POST " + TypingPath, func(ctx context.Context, c *Client) error {
		return c.CancelTyping(ctx, testOpenID)
	}},
	{"add", "POST /customservice/kfaccount/add", func(ctx context.Context, c *Client) error {
		return c.AddKFAccount(ctx, testChange())
	}},
	{"update", "POST /customservice/kfaccount/update", func(ctx context.Context, c *Client) error {
		return c.UpdateKFAccount(ctx, testChange())
	}},
	{"delete", "POST /customservice/kfaccount/del", func(ctx context.Context, c *Client) error {
		return c.DeleteKFAccount(ctx, testAccount)
	}},
	{"avatar", "POST /customservice/kfaccount/uploadheadimg",
		func(ctx context.Context, c *Client) error {
			return c.SetAvatar(ctx, testAccount, testPhoto)
		}},
	{"list", "GET /cgi-bin/customservice/getkflist", func(ctx context.Context, c *Client) error {
		return errOnly(c.KFAccounts(ctx))
	}},
	{"online", "GET /cgi-bin/customservice/getonlinekflist",
		func(ctx context.Context, c *Client) error { return errOnly(c.OnlineKFAccounts(ctx)) }},
	{"quota", "POST /cgi-bin/openapi/quota/get", func(ctx context.Context, c *Client) error {
		return errOnly(c.Quota(ctx, SendPath))
	}},
	{"clear quota", "POST /cgi-bin/clear_quota", func(ctx context.Context, c *Client) error {
		return c.ClearQuota(ctx, testApp)
	}},
	{"clear one quota", "POST /cgi-bin/openapi/quota/clear",
		func(ctx context.Context, c *Client) error { return c.ClearAPIQuota(ctx, SendPath) }},
	{"rid", "POST /cgi-bin/openapi/rid/get", func(ctx context.Context, c *Client) error {
		return errOnly(c.RID(ctx, "6382c1a4-5ad4c0a2-0f7d5d30"))
	}},
}

// errOnly drops the first of two results.
func errOnly[T any](_ T, err error) error { return err }

func testChange() KFAccountChange {
	return KFAccountChange{testAccount, "客服1", HashPassword("PASSWORD-canary-1234")}
}

// testPhoto is an avatar as it should be.
var testPhoto = testJPEG(640, 640)

// testJPEG returns a grey picture.
func testJPEG(width, height int) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, width, height)), nil); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// startSandbox returns a sandbox with one kfaccount, and a client with a good token for it.
func startSandbox(t *testing.T, o sandbox.Options) (*sandbox.Sandbox, *Client) {
	t.Helper()
	sb := sandbox.New(o)
	url, err := sb.Listen("127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sb.Close()) })
	sb.Grant(testApp, canary)
	sb.PutKFAccount(testApp,
		sandbox.KFAccount{Account: testAccount, Nickname: "客服1", Status: 1, AcceptedCase: 2})
	return sb, NewClient(httpClient(t, longTimeout), url, fixedToken(canary))
}

// exchanged is one request as a server saw it.
type exchanged struct {
	line, query string
	header      http.Header
	length      int64
	encoding    []string
	body        string
}

// answering is an API that answers everything alike and remembers what it was asked.
type answering struct {
	url string
	mu  sync.Mutex
	got []exchanged
}

func newAnswering(t *testing.T, contentType, body string) *answering {
	t.Helper()
	a := &answering{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		a.mu.Lock()
		a.got = append(a.got, exchanged{r.Method + " " + r.URL.Path, r.URL.RawQuery, r.Header,
			r.ContentLength, r.TransferEncoding, string(data)})
		a.mu.Unlock()
		w.Header()["Content-Type"] = []string{contentType}
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	a.url = server.URL
	return a
}

func (a *answering) last(t *testing.T) exchanged {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	require.NotEmpty(t, a.got)
	return a.got[len(a.got)-1]
}

func (a *answering) client(t *testing.T) *Client {
	t.Helper()
	return NewClient(httpClient(t, longTimeout), a.url, fixedToken(canary))
}

func TestEveryMethodIsOneRequestOfThatForm(t *testing.T) {
	t.Parallel()
	for _, m := range methods {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			a := newAnswering(t, "application/json", plainOK)
			// A base path catches an endpoint that is put together wrongly.
			c := NewClient(httpClient(t, longTimeout), a.url+"/base/", fixedToken("a/b+c=d&e"))
			_ = m.call(t.Context(), c) // an answer without a list is none to those who ask for one
			require.Len(t, a.got, 1)
			got := a.last(t)
			verb, path, _ := strings.Cut(m.path, " ")
			require.Equal(t, verb+" /base"+path, got.line)
			require.Regexp(t, `^access_token=a%2Fb%2Bc%3Dd%26e(&kf_account=test1@test)?$`,
				got.query)
			require.Empty(t, got.encoding, "a chunked body is answered with 412")
			require.EqualValues(t, len(got.body), got.length)
			want := http.Header{"User-Agent": {"kefu"}}
			if verb == http.MethodPost {
				require.NotEmpty(t, got.body)
				want["Content-Length"] = got.header["Content-Length"]
				want["Content-Type"] = []string{"application/json; charset=utf-8"}
			} else {
				require.Empty(t, got.body)
			}
			if m.name == "avatar" {
				require.Regexp(t, `^multipart/form-data; boundary=`, got.header.Get("Content-Type"))
				want["Content-Type"] = got.header["Content-Type"]
			}
			require.Equal(t, want, got.header,
				"nothing else: no Idempotency-Key, Referer, Cookie, Accept-Encoding, Expect")
		})
	}
}
