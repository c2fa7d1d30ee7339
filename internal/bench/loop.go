package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/schema"
)

// Loop is the bare loop: consume, check the JSON, POST, read errcode, ack. It is what somebody
// would write by hand in an afternoon, and the floor of what the job costs. It has no order,
// budget, retry schedule, ledger, receipt or dead letter, and sends again what it had in hand when
// it is killed.
type Loop struct {
	Conn        *broker.Conn
	API         string // base URL
	Apps        []string
	Concurrency int
}

// loopPrefetch is how many messages a consumer asks for at once.
const loopPrefetch = 1000

// Run works until ctx ends; started is called when it reads every queue.
func (l *Loop) Run(ctx context.Context, started func() error) error {
	hc := &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{MaxIdleConns: l.Concurrency, MaxIdleConnsPerHost: l.Concurrency},
	}
	defer hc.CloseIdleConnections()
	work := make(chan loopMessage, loopPrefetch)
	var slots sync.WaitGroup
	for range l.Concurrency {
		slots.Go(func() {
			for m := range work {
				l.handle(hc, m)
			}
		})
	}
	var readers []jetstream.ConsumeContext
	defer func() {
		for _, r := range readers {
			r.Stop()
			<-r.Closed()
		}
		close(work)
		slots.Wait()
		_ = l.Conn.NC.FlushTimeout(2 * time.Second) // acks are not confirmed
	}()
	for _, appID := range l.Apps {
		send, err := l.prepare(ctx, hc, appID)
		if err != nil {
			return err
		}
		consumer, err := l.Conn.JS.CreateConsumer(ctx, schema.SendStream(appID),
			jetstream.ConsumerConfig{
				Durable: "bare", AckPolicy: jetstream.AckExplicitPolicy, AckWait: 30 * time.Second,
				MaxDeliver:    -1,
				MaxAckPending: 8 * loopPrefetch, MemoryStorage: true, // as kefu's own consumers
			})
		if err != nil {
			return fmt.Errorf("read the queue of %s: %w", appID, err)
		}
		reader, err := consumer.Consume(func(m jetstream.Msg) { work <- loopMessage{m, send} },
			jetstream.PullMaxMessages(loopPrefetch))
		if err != nil {
			return fmt.Errorf("read the queue of %s: %w", appID, err)
		}
		readers = append(readers, reader)
	}
	if err := started(); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

type loopMessage struct {
	jetstream.Msg
	send string // URL of the call, with the app's token
}

// prepare gets the app's token, once: two hours are longer than any run.
func (l *Loop) prepare(
	ctx context.Context, hc *http.Client, appID string,
) (send string, err error) {
	body, err := json.Marshal(map[string]string{"grant_type": "client_credential", "appid": appID,
		"secret": secret})
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.API+"/cgi-bin/stable_token",
		bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	resp, err := hc.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	var t struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&t); err != nil || t.Token == "" {
		return "", fmt.Errorf("no token for %s: %w", appID, err)
	}
	return l.API + "/cgi-bin/message/custom/send?access_token=" + t.Token, nil
}

func (l *Loop) handle(hc *http.Client, m loopMessage) {
	switch code, err := m.attempt(hc); {
	case errors.Is(err, errLoopInvalid):
		_ = m.Term()
	case err != nil, code == -1:
		_ = m.NakWithDelay(time.Second)
	case code != 0:
		_ = m.Term()
	default:
		_ = m.Ack()
	}
}

var errLoopInvalid = errors.New("no packet of the API")

// attempt makes the call and returns the API's errcode.
func (m *loopMessage) attempt(hc *http.Client) (int, error) {
	var packet struct {
		ToUser  string          `json:"touser"`
		MsgType string          `json:"msgtype"`
		Text    json.RawMessage `json:"text"`
	}
	if err := json.Unmarshal(m.Data(), &packet); err != nil || packet.ToUser == "" ||
		packet.MsgType == "" || packet.Text == nil {
		return 0, errLoopInvalid
	}
	resp, err := hc.Post(m.send, "application/json", bytes.NewReader(m.Data()))
	if err != nil {
		return 0, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return 0, err
	}
	var answer struct {
		Errcode int `json:"errcode"`
	}
	err = json.Unmarshal(body, &answer)
	return answer.Errcode, err
}
