package phone_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/sandbox/phone"
)

// BenchmarkPages renders pages over 100,000 messages in 5,000 conversations, half of the messages
// in one.
func BenchmarkPages(b *testing.B) {
	box := sandbox.New(sandbox.Options{})
	defer func() { _ = box.Close() }()
	phone.Attach(box)
	box.Grant(app, "good-token")
	for i := range 100_000 {
		openID := "alice"
		if i%2 == 0 {
			openID = fmt.Sprintf("user-%d", i/2%5000)
		}
		r := httptest.NewRequest(http.MethodPost,
			"/cgi-bin/message/custom/send?access_token=good-token", strings.NewReader(
				fmt.Sprintf(`{"touser":%q,"msgtype":"text","text":{"content":"no. %d"}}`, openID, i)))
		box.ServeHTTP(httptest.NewRecorder(), r)
	}
	for _, path := range []string{"/phone", "/phone?page=160", "/phone?q=user-49",
		"/phone?q=99998", chat("alice"), chat("alice") + "?before=20000", "/phone/situations"} {
		b.Run(strings.ReplaceAll(path, "/", "."), func(b *testing.B) {
			for b.Loop() {
				w := httptest.NewRecorder()
				box.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
				if w.Code != http.StatusOK {
					b.Fatal(w.Code, path)
				}
			}
		})
	}
}
