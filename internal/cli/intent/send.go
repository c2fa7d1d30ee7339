package intent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/textfile"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// send is `kefu send`.
type send struct {
	streams *cli.Streams
	broker  *cli.Broker

	openID    string
	text      string
	kfAccount string
	packet    string
	id        string
	campaign  string
	sendAt    cli.When
	expiresIn time.Duration
	unknown   string
	source    string
	wait      bool
	timeout   time.Duration
}

// NewSend returns `kefu send`.
func NewSend(env *cli.Env) *cobra.Command {
	s := &send{streams: env.Streams, broker: env.Broker}
	cmd := &cobra.Command{
		Use:     "send",
		Short:   "Publish one message, and see what becomes of it",
		GroupID: cli.GroupIntent,
		Long: `Publishes one send-intent to the queue of an app, as a producer would: a text from
flags, or any packet of the customer-service API as JSON from a file or from standard input, which
is read when none of these flags is given and it is no terminal.

With --wait it prints what became of it, and ends with exit code 1 when it was not sent or nobody
can tell; it publishes nothing to a campaign that was cancelled. A repeat of an id is not waited for
when the first one has ended, or does not end within --timeout: what became of that one is printed
at once. Where workers do not write all receipts (worker.receipts) it reads the ledger; as JSON,
published_at is then 0001-01-01T00:00:00Z when nothing tells it any more.`,
		Example: `  kefu send --openid oUser1 --text '您的订单已发货' --wait
  kefu send --packet image.json --id order-4711-image --wait
  echo '{"touser":"oUser1","msgtype":"text","text":{"content":"hi"}}' | kefu send
  kefu send --openid oUser1 --text 'later' --send-at 2h
  kefu send --openid oUser1 --text 'sale' --campaign spring-sale`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("expires-in") && s.expiresIn == 0 {
				return cli.Usagef("--expires-in 0 is over before it begins")
			}
			if s.timeout <= 0 {
				return cli.Usagef("--timeout must be above 0")
			}
			if s.openID+s.text+s.kfAccount+s.packet == "" && !s.streams.Terminal.In {
				s.packet = "-"
			}
			return s.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.openID, "openid", "", "`openid` of the recipient, with --text")
	f.StringVar(&s.text, "text", "", "`text` to send")
	f.StringVar(&s.kfAccount, "kfaccount", "",
		"`kfaccount` it comes from, as prefix@wechatid, with --text")
	f.StringVar(&s.packet, "packet", "",
		"JSON `file` with a packet of the API; - is standard input, also read without this flag "+
			"when it is no terminal")
	f.StringVar(&s.id, "id", "",
		"`id` of the intent: a repeat of it is sent once (default: a new one)")
	f.StringVar(&s.campaign, "campaign", "", "`name` of a campaign: send it in the bulk lane")
	cli.FutureVar(f, &s.sendAt, "send-at",
		"hold it until this `time`: 2h, 2026-11-24T08:15:00+08:00 or \"2026-11-24 08:15\"")
	cli.DurationVar(f, &s.expiresIn, "expires-in", 0,
		"never send it later than this from now: 90m, 36h or 7d")
	f.StringVar(&s.unknown, "unknown", "",
		"when nobody knows whether it was sent: resend or park (`policy`; default: the app's)")
	f.StringVar(&s.source, "source", "", "`name` of the service it comes from")
	f.BoolVar(&s.wait, "wait", false, "wait until it has ended, and print how")
	cli.DurationVar(f, &s.timeout, "timeout", time.Minute, "how long to wait at most, with --wait")
	cli.FormerNames(f, map[string]string{"to": "openid", "kf-account": "kfaccount"})
	cli.Complete(cmd, "unknown", func() []string {
		return []string{string(schema.PolicyResend), string(schema.PolicyPark)}
	})
	_ = cmd.MarkFlagFilename("packet", "json") // the flag was added above
	return cmd
}

func (s *send) run(ctx context.Context) error {
	packet, err := s.message()
	if err != nil {
		return err
	}
	options, err := s.options()
	if err != nil {
		return err
	}
	conn, app, err := s.broker.ConnectApp(ctx, "")
	if err != nil {
		return err
	}
	defer conn.Close()
	p, err := publisher.New(conn.JS, publisher.WithLimits(app.Limits))
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }() // the connection ends with the command
	if s.wait {
		o := &outcome{send: s, conn: conn, publisher: p, packet: packet}
		return o.await(ctx, app.AppID, options)
	}
	accepted, err := p.Publish(ctx, app.AppID, packet, options...)
	if err != nil {
		return asUsage(err)
	}
	return s.printAccepted(accepted)
}

// message returns the packet as JSON.
func (s *send) message() (json.RawMessage, error) {
	switch {
	case s.packet != "" && (s.text != "" || s.openID != "" || s.kfAccount != ""):
		return nil, cli.Usagef("--packet holds the whole message: " +
			"leave out --openid, --text and --kfaccount")
	case s.packet == "" && (s.text == "" || s.openID == ""):
		return nil, cli.Usagef("what to send? give --openid and --text, or --packet")
	case s.packet != "":
		return s.readPacket()
	}
	p := &schema.Packet{ToUser: s.openID, Body: &schema.Text{Content: s.text}}
	if s.kfAccount != "" {
		p.CustomService = &schema.CustomService{KFAccount: s.kfAccount}
	}
	return schema.Encode(p), nil
}

func (s *send) readPacket() (json.RawMessage, error) {
	in := s.streams.In
	if s.packet != "-" {
		f, err := os.Open(s.packet)
		if err != nil {
			return nil, cli.Usagef("--packet: %w", err)
		}
		defer f.Close() //nolint:errcheck // nothing was written
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(textfile.NewReader(in), schema.MaxPacket+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.packet, err)
	}
	if len(bytes.TrimSpace(raw)) == 0 && s.packet == "-" {
		return nil, cli.Usagef("what to send? standard input is empty: " +
			"give --openid and --text, or a packet as JSON")
	}
	return raw, nil
}

func (s *send) options() ([]publisher.PublishOption, error) {
	var out []publisher.PublishOption
	if s.id != "" {
		out = append(out, publisher.WithID(s.id))
	}
	if s.campaign != "" {
		out = append(out, publisher.WithBulk(s.campaign))
	}
	now := time.Now()
	if at := s.sendAt.At(now); !at.IsZero() {
		if s.wait && at.Sub(now) > s.timeout {
			return nil, cli.Usagef("--wait ends before --send-at: it would need a --timeout above %s",
				s.timeout)
		}
		out = append(out, publisher.WithSendAt(at))
	}
	if s.expiresIn > 0 {
		out = append(out, publisher.WithExpiresIn(s.expiresIn))
	}
	switch policy := schema.UnknownPolicy(s.unknown); policy {
	case "":
	case schema.PolicyResend, schema.PolicyPark:
		out = append(out, publisher.WithUnknown(policy))
	default:
		return nil, cli.Usagef("--unknown %q is not one of resend, park", s.unknown)
	}
	if s.source != "" {
		out = append(out, publisher.WithSource(s.source))
	}
	return out, nil
}

// asUsage makes what is wrong with the message itself an error of usage.
func asUsage(err error) error {
	var field *schema.FieldError
	if errors.As(err, &field) {
		return cli.Usagef("%w", field)
	}
	return err
}

// Accepted is the answer as JSON.
type Accepted struct {
	ID        string `json:"id"`
	AppID     string `json:"appid"`
	Stream    string `json:"stream"`
	Sequence  uint64 `json:"sequence"`
	Duplicate bool   `json:"duplicate"`
}

func (s *send) printAccepted(a publisher.Accepted) error {
	says := "%s  accepted\n"
	if a.Duplicate {
		says = "%s  already accepted before; it is sent once\n"
	}
	return s.streams.Answer(Accepted{a.ID, a.AppID, a.Stream, a.Seq, a.Duplicate}, says, a.ID)
}
