package doctor_test

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/doctor"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/schema"
)

func TestASoundInstallationHasNoFinding(t *testing.T) {
	t.Parallel()
	findings := newWard(t, nil, nil).examine()
	require.Empty(t, of(findings, doctor.Warning, doctor.Error))
	unseen := of(findings, doctor.Skipped)
	require.Len(t, unseen, 1)
	require.Equal(t, "disk", unseen[0].Check, unseen[0].Text)
	names, _ := doctor.Names()
	require.Len(t, findings, len(names))
}

// fault is something that is wrong with an installation.
type fault struct {
	name  string
	set   map[string]any        // of the configuration
	given func(*server.Options) // the broker is started so
	plant func(*ward)

	check string
	state doctor.State
	says  string // part of the finding
	fix   string // part of what to do
}

// faults are each planted alone into a sound installation, with the one finding that must come of
// it.
var faults = []fault{
	{name: "nobody listens at nats.url",
		plant: func(w *ward) { w.url, w.wait = "nats://"+brokertest.FreeAddress(w.t), inVain },
		check: "broker", state: doctor.Error,
		says: "connection refused",
		fix:  "Start nats-server there, or correct nats.url"},
	{name: "the broker is too old", plant: tooOld,
		check: "broker", state: doctor.Error,
		says: "this is 2.10.7, kefu needs 2.14.0",
		fix:  "Install nats-server 2.14.0 or newer"},
	{name: "the password is wrong",
		given: func(o *server.Options) { o.Username, o.Password = "kefu", "right" },
		plant: func(w *ward) {
			w.url, w.wait = strings.Replace(w.url, "://", "://kefu:wrong@", 1), inVain
		},
		check: "broker", state: doctor.Error,
		says: "Authorization Violation",
		fix:  "does not know this user or its password"},
	{name: "JetStream is off", given: func(o *server.Options) { o.JetStream = false },
		check: "jetstream", state: doctor.Error,
		says: "JetStream is off",
		fix:  "Start nats-server with a jetstream block"},
	{name: "the account may have no more streams", plant: fewStreams,
		check: "jetstream", state: doctor.Error,
		says: "may have 11 streams and has 11: kefu needs 1 more",
		fix:  "Raise max_streams of the account to 12"},
	{name: "the broker takes small messages only",
		given: func(o *server.Options) { o.MaxPayload = 128 << 10 },
		check: "payload", state: doctor.Error,
		says: "messages of up to 128 KiB only",
		fix:  "Set max_payload: 1MB"},
	{name: "a stream is missing",
		plant: func(w *ward) {
			w.NoError(w.admin.JS.DeleteStream(w.t.Context(), schema.StreamReceipt))
		},
		check: "objects", state: doctor.Error,
		says: "KEFU_RECEIPT is missing",
		fix:  "kefu setup makes what is missing"},
	{name: "somebody has changed a stream",
		plant: func(w *ward) {
			w.reset(schema.StreamReceipt, func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour })
		},
		check: "objects", state: doctor.Warning,
		says: "KEFU_RECEIPT: max_age is 1h0m0s and should be 72h0m0s",
		fix:  "kefu setup changes it"},
	{name: "three copies are wanted of one server",
		plant: func(w *ward) { w.set["nats.replicas"] = "3" },
		check: "replicas", state: doctor.Error,
		says: "nats.replicas is 3, and the broker has 1 server",
		fix:  "Start 3 servers as one cluster, or set nats.replicas to 1"},
	{name: "the broker writes to its disk every two minutes",
		given: func(o *server.Options) { o.SyncAlways = false },
		check: "fsync", state: doctor.Warning,
		says: "writes to its disk every 2m0s",
		fix:  "Set sync_interval: always"},
	{name: "the worker may not acknowledge", given: withoutRight(`, "$JS.ACK.>"`),
		plant: func(w *ward) { w.url = strings.Replace(w.url, "://", "://worker:secret@", 1) },
		check: "rights", state: doctor.Error,
		says: "user worker (taken for: worker) may not publish to $JS.ACK.KEFU_SEND_<appid>",
		fix:  "Give the worker its rights, see deploy/RIGHTS.md"},
	{name: "intents are queued, and no worker is alive",
		plant: func(w *ward) {
			w.save(broker.DeleteState("pool.worker.w1"))
			w.publish("kefu.send.wx1.live.alice", "{}")
		},
		check: "workers", state: doctor.Error,
		says: "no worker is alive, and 1 intent is queued",
		fix:  "Start kefu worker"},
	{name: "no worker has the app",
		plant: func(w *ward) {
			w.save(broker.PutState("pool.worker.w1", []byte(`{"name":"w1","apps":["wx2"]}`), 0))
		},
		check: "workers", state: doctor.Warning,
		says: "no worker that is alive has the app",
		fix:  "SIGHUP has them read it"},
	{name: "an operator has paused the app",
		plant: func(w *ward) {
			w.NoError(gate.Pause(w.t.Context(), w.admin, "wx1", "stocktaking", "ann"))
		},
		check: "holds", state: doctor.Warning,
		says: "(operator): stocktaking",
		fix:  "kefu app resume, when the time has come"},
	{name: "the queue is full", set: map[string]any{"defaults.queue.messages": "2"},
		plant: func(w *ward) {
			w.publish("kefu.send.wx1.live.alice", "{}")
			w.publish("kefu.send.wx1.live.bob", "{}")
		},
		check: "queues", state: doctor.Error,
		says: "the queue is full to 100 %, with 2 intents",
		fix:  "Start more workers"},
	{name: "the box of dead letters is nearly full",
		plant: func(w *ward) {
			w.reset(schema.StreamDead, func(c *jetstream.StreamConfig) { c.MaxMsgs = 5 })
			for range 4 {
				w.publish("kefu.dead.wx1.rejected", "{}")
			}
		},
		check: "letters", state: doctor.Warning,
		says: "KEFU_DEAD is full to 80 %",
		fix:  "kefu dead groups"},
	{name: "the console's token is not there",
		plant: func(w *ward) {
			w.set["console.token_file"] = filepath.Join(w.t.TempDir(), "token")
		},
		check: "key files", state: doctor.Error,
		says: "console.token_file: open ",
		fix:  "Write the file, or correct console.token_file"},

	{name: "the file of the secret is not there",
		plant: func(w *ward) { w.NoError(os.Remove(w.secretFile)) },
		check: "secret", state: doctor.Error,
		says: "no such file",
		fix:  "Write the AppSecret into that file"},
	{name: "everybody can read the secret",
		plant: func(w *ward) { w.NoError(os.Chmod(w.secretFile, 0o644)) },
		check: "secret", state: doctor.Warning,
		says: "can be read by others", fix: "chmod 600 /"},
	{name: "the secret is blank",
		plant: func(w *ward) { w.NoError(os.WriteFile(w.secretFile, []byte("\ufeff \n"), 0o600)) },
		check: "secret", state: doctor.Error,
		says: "is empty", fix: "Copy the AppSecret"},
	{name: "the secret was saved by Notepad as Unicode",
		plant: func(w *ward) {
			w.NoError(os.WriteFile(w.secretFile, []byte("\xff\xfeS\x00e\x00"), 0o600))
		},
		check: "secret", state: doctor.Error,
		says: "is written in UTF-16", fix: "Save it as UTF-8"},
	{name: "the secret is not the app's",
		plant: func(w *ward) {
			w.NoError(os.WriteFile(w.secretFile, []byte("CANARYOTHER"), 0o600))
		},
		check: "token", state: doctor.Error,
		says: "errcode 40125", fix: "Copy the AppID and AppSecret"},
	{name: "WeChat does not know this machine's address",
		plant: func(w *ward) { w.api.Add(sandbox.Rule{Call: sandbox.CallToken, Errcode: 40164}) },
		check: "ip list", state: doctor.Error,
		says: "refuses calls from 203.0.113.7",
		fix:  "Add 203.0.113.7 to the IP allow-list of wx1"},
	{name: "nobody listens at wechat.base_url, and a proxy is set",
		plant: func(w *ward) {
			w.base = "http://" + brokertest.FreeAddress(w.t)
			w.environ["HTTPS_PROXY"] = "http://proxy:3128"
		},
		check: "api", state: doctor.Error,
		says: "connection refused", fix: "kefu uses none"},
	{name: "the certificate of the API is nobody's",
		plant: func(w *ward) {
			s := httptest.NewUnstartedServer(w.api)
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.StartTLS()
			w.t.Cleanup(s.Close)
			w.base = s.URL
		},
		check: "api", state: doctor.Error,
		says: "is not trusted", fix: "wechat.ca_file"},
	{name: "this machine's clock is ten minutes ahead of the API's", plant: lateClock,
		check: "api clock", state: doctor.Error,
		says: "ahead of the API's", fix: "timedatectl"},
	{name: "no send is left for today",
		plant: func(w *ward) { w.quota(500_000, 500_000) },
		check: "quota", state: doctor.Error,
		says: "no send is left for today, of 500,000",
		fix:  "midnight, Beijing time"},
	{name: "the app's own budget is above WeChat's",
		plant: func(w *ward) { w.quota(100_000, 10) },
		check: "quota", state: doctor.Warning,
		says: "rate.per_day is 500,000, and WeChat allows 100,000",
		fix:  "Set rate.per_day of the app to 100000"},
	{name: "the app may not use kfaccounts",
		plant: func(w *ward) {
			w.api.Add(sandbox.Rule{Call: "/cgi-bin/customservice/getkflist", Errcode: 48001})
		},
		check: "kfaccounts", state: doctor.Error,
		says: "errcode 48001", fix: "mp.weixin.qq.com"},

	{name: "the time zone is unknown",
		plant: func(w *ward) { w.environ["TZ"] = "Asia/Shanghigh" },
		check: "time zone", state: doctor.Warning,
		says: "times are shown in UTC", fix: "tzdata"},
	{name: "fewer files may be open than calls be in flight",
		plant: func(w *ward) {
			w.write(w.root, "proc/self/limits", "Max open files            256           4096\n")
		},
		check: "open files", state: doctor.Error,
		says: "may open 256 files, and a worker needs about 320",
		fix:  "LimitNOFILE=320"},
	{name: "the container has little memory",
		plant: func(w *ward) {
			w.write(w.root, "proc/self/cgroup", "0::/kefu\n")
			w.write(w.root, "sys/fs/cgroup/kefu/memory.max", "67108864\n")
		},
		check: "memory", state: doctor.Error,
		says: "the control group has 64 MiB",
		fix:  "lower worker.ledger.keep"},
	{name: "the queues of an embedded broker may outgrow its disk",
		set:   map[string]any{"defaults.queue.bytes": "16TiB"},
		given: func(o *server.Options) { o.JetStreamMaxStore = 1 << 62 },
		plant: func(w *ward) {
			w.set["nats.listen"] = strings.TrimPrefix(w.url, "nats://")
			w.set["nats.store_dir"] = w.t.TempDir()
			w.set["nats.url"] = "embedded"
		},
		check: "disk", state: doctor.Warning,
		says: "the queues may take 16 TiB",
		fix:  "Lower queue.bytes"},
}

func TestEachPlantedFaultIsFoundAlone(t *testing.T) {
	t.Parallel()
	require.GreaterOrEqual(t, len(faults), 18)
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t, f.set, f.given)
			if f.plant != nil {
				f.plant(w)
			}
			found := of(w.examine(), doctor.Warning, doctor.Error)
			if f.check == "replicas" { // the streams differ from what is wanted, too
				require.Equal(t, "objects", found[0].Check)
				require.Contains(t, found[0].Text, "11 streams: replicas is 1 and should be 3")
				found = found[1:]
			}
			require.NotEmpty(t, found)
			require.Equal(t, f.check, found[0].Check, found)
			require.Equal(t, f.state, found[0].State, found)
			require.Contains(t, found[0].Text, f.says)
			require.Contains(t, found[0].Fix, f.fix)
			for _, more := range found[1:] {
				require.Equal(t, f.check, more.Check, more)
			}
		})
	}
}

// quota has the API say how many sends of a day there are, and how many are used.
func (w *ward) quota(limit, used int) {
	w.api.Add(sandbox.Rule{Call: "/cgi-bin/openapi/quota/get", Body: fmt.Sprintf(
		`{"errcode":0,"quota":{"daily_limit":%d,"used":%d,"remain":%d}}`, limit, used, limit-used)})
}

// fewStreams has the account allow as many streams as it has, of which one is not kefu's.
func fewStreams(w *ward) {
	ctx := w.t.Context()
	w.NoError(w.admin.JS.DeleteStream(ctx, "KEFU_RATE"))
	account := w.server.GlobalAccount()
	limits := account.JetStreamUsage().Limits
	limits.MaxStreams = 11
	w.NoError(account.UpdateJetStreamLimits(map[string]server.JetStreamAccountLimits{"": limits}))
}

// tooOld puts a way to the broker in its place on which it says that it is an old one.
func tooOld(w *ward) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.NoError(err)
	w.t.Cleanup(func() { _ = l.Close() })
	to := strings.TrimPrefix(w.url, "nats://")
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
			go func() { _, _ = io.Copy(older{near}, far); _ = near.Close() }()
		}
	}()
	w.url = "nats://" + l.Addr().String()
}

// older changes the version in what a broker says of itself.
type older struct{ io.Writer }

var version = regexp.MustCompile(`"version":"[^"]*"`)

func (o older) Write(p []byte) (int, error) {
	_, err := o.Writer.Write(version.ReplaceAll(p, []byte(`"version":"2.10.7"`)))
	return len(p), err
}

// lateClock puts a way to the API in its place on which the time is late.
func lateClock(w *ward) {
	to, err := url.Parse(w.base)
	w.NoError(err)
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ModifyResponse = func(r *http.Response) error {
		r.Header.Set("Date", time.Now().Add(-10*time.Minute).UTC().Format(http.TimeFormat))
		return nil
	}
	s := httptest.NewServer(proxy)
	w.t.Cleanup(s.Close)
	w.base = s.URL
}

var passwords = regexp.MustCompile(`\$[A-Z]+_PASSWORD`)

// withoutRight starts the broker with the roles of deploy, less a part of that file, and with a
// user who may do everything.
func withoutRight(part string) func(*server.Options) {
	return func(o *server.Options) {
		text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "nats-roles.conf"))
		if err != nil {
			panic(err)
		}
		conf := passwords.ReplaceAllString(string(text), "secret")
		conf = strings.ReplaceAll(strings.ReplaceAll(conf, part, ""), "wx0000000000000001", "wx1")
		roles := &server.Options{}
		file := filepath.Join(filepath.Dir(o.StoreDir), "roles.conf")
		if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
			panic(err)
		}
		if err := roles.ProcessConfigFile(file); err != nil {
			panic(err)
		}
		o.Accounts, o.Users = roles.Accounts, roles.Users
		for _, account := range o.Accounts {
			if account.Name == "KEFU" {
				o.Users = append(o.Users,
					&server.User{Username: "admin", Password: "secret", Account: account})
			}
		}
	}
}
