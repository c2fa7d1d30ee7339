package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// message is what an API sees of a packet.
type message struct {
	ToUser        string
	MsgType       string
	Text          struct{ Content string }
	CustomService struct {
		KFAccount string `json:"kf_account"`
	}
}

// pickyAPI answers each message as it deserves.
type pickyAPI struct {
	mu     sync.Mutex
	posts  map[string]int // by touser
	texts  []string       // that were sent, in order
	answer func(m message) error
}

func newPickyAPI(answer func(message) error) *pickyAPI {
	return &pickyAPI{posts: make(map[string]int), answer: answer}
}

// menusDraw answers menus with an errcode, and accepts everything else.
func menusDraw(code int) func(message) error {
	return func(m message) error {
		if m.MsgType == "msgmenu" {
			return apiError(code)
		}
		return nil
	}
}

func (a *pickyAPI) Deliver(ctx context.Context, m wechat.Message) error {
	if err := m.Before(); err != nil {
		return err
	}
	var p message
	if err := json.Unmarshal(m.Packet, &p); err != nil {
		return err
	}
	a.mu.Lock()
	a.posts[p.ToUser]++
	a.mu.Unlock()
	delays.call(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	err := a.answer(p)
	if err == nil && p.MsgType == "text" {
		a.texts = append(a.texts, p.Text.Content)
	}
	return err
}

func (a *pickyAPI) postsTo(to string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.posts[to]
}

func (a *pickyAPI) total() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range a.posts {
		n += k
	}
	return n
}

// put publishes a packet under an id.
func (b *bed) put(subject, id, packet string) {
	b.t.Helper()
	m := nats.NewMsg(subject)
	m.Data = []byte(packet)
	m.Header.Set("Nats-Msg-Id", id)
	_, err := b.conn.Outbox.PublishWait(b.t.Context(), m)
	b.NoError(err)
}

func menu(to string) string {
	const list = `[{"id":"101","content":"a"}]`
	const packet = `{"touser":%q,"msgtype":"msgmenu","msgmenu":{"head_content":"h","list":%s}}`
	return fmt.Sprintf(packet, to, list)
}

func textInTheNameOf(account, to string) string {
	const packet = `{"touser":%q,"msgtype":"text","text":{"content":"x"},` +
		`"customservice":{"kf_account":%q}}`
	return fmt.Sprintf(packet, to, account)
}

func textOf(to, content string) string {
	return fmt.Sprintf(`{"touser":%q,"msgtype":"text","text":{"content":%q}}`, to, content)
}

// ended collects the receipts of so many intents.
func (b *bed) ended(n int) map[string]schema.Receipt {
	b.t.Helper()
	got := make(map[string]schema.Receipt)
	for len(got) < n {
		r := b.receipt()
		got[r.ID] = r
	}
	return got
}

// held waits until an app is held, and returns why.
func (b *bed) held() (h gate.Hold) {
	b.t.Helper()
	b.await(func() bool {
		for _, a := range b.worker.current() {
			var is bool
			h, is = a.gate.Held()
			return is
		}
		return false
	}, "it is held")
	return h
}

func (b *bed) open() bool {
	_, held := b.worker.current()[0].gate.Held()
	return !held
}

// later is how many intents of the app wait for their time.
func (b *bed) later() uint64 {
	b.t.Helper()
	n, err := b.conn.Count(b.t.Context(), wire.StreamLater, wire.LaterWaitFilter(appID))
	b.NoError(err)
	return n
}
