// Package sandbox is `kefu sandbox`: a fake WeChat API to develop and test against.
package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/sandbox/phone"
	"github.com/kefuhq/kefu/internal/textfile"
)

// serve is the command.
type serve struct {
	streams  *cli.Streams
	listen   string
	latency  sandbox.Latency
	tokenTTL time.Duration
	rules    string
	like     string
	settings string
	apps     string
	level    slog.LevelVar
}

// New returns the command.
func New(env *cli.Env) *cobra.Command {
	s := &serve{streams: env.Streams}
	cmd := &cobra.Command{
		Use:     "sandbox",
		Short:   "Run a fake WeChat API to develop and test against",
		GroupID: cli.GroupRun,
		Long: `Runs a fake of WeChat's customer-service API: it issues tokens, checks and records
messages, keeps accounts and answers as WeChat does. Nothing reaches anybody, and no WeChat account
is needed. Ctrl-C stops it.

The calls are send, typing, both token calls, the kfaccount family with avatars and lists,
quota/get, the ways to clear quotas, and rid/get. By default every app, user and media id is good
and there are no limits; --like and --settings make it as strict as WeChat, from what users did and
what was sent before. Rules make it slow, busy, broken or gone. All of it can be changed over HTTP
while it runs; the page at its address says how:

  /phone               the phone: what users receive, as a chat; act as they would
  /sandbox/rules       what becomes of which calls: errcodes, resets, hangs, redirects, …
  /sandbox/settings    reply windows, content, quotas, token limits, IP list, kfaccounts
  /sandbox/users       users message, click, follow, scan, pay, unfollow
  /sandbox/kfaccounts  the accounts of an app, and who is online
  /sandbox/quota       how often an app has made each call today
  /sandbox/apps        which apps there are, with their secrets
  /sandbox/tokens      tokens of one's own; stale ones
  /sandbox/clock       go forward in time: 48 hours pass at once
  /sandbox/received    what came in; with /sandbox/count, /sandbox/stats and /sandbox/wait`,
		Example: `  kefu sandbox
  kefu sandbox --listen 127.0.0.1:0 --latency 20ms..80ms
  kefu sandbox --token-ttl 30s --rules rules.json
  kefu sandbox --like today
  kefu sandbox --settings settings.json --apps apps.json

rules.json, of which the first rule whose turn it is acts:
  [{"call": "send", "errcode": -1, "share": 0.05},
   {"call": "send", "openid": "oUser1", "times": 1, "reset": "after"}]

apps.json:
  {"wx0000000000000001": "its secret"}

settings.json, of which every field may be left out:
  {"like": "today",
   "window": "today", "allowances": {"message": {"sends": 20, "lasts": "48h"}}, "known_users": true,
   "messages": {"strict": true, "text_bytes": 2048, "articles": 1, "no_escapes": true,
                "media": ["MEDIA_ID"], "known_kfaccounts": true},
   "quotas": {"send": {"day": 500000, "minute": 1000}, "/cgi-bin/token": {"day": 2000}},
   "tokens": {"forced_a_day": 20, "addresses": ["127.0.0.1", "10.0.0.0/8"]},
   "kfaccounts": {"errors": "old", "limit": 10, "nicknames": "document", "delete": "post"}}`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd.Context()) },
	}
	s.addFlags(cmd)
	return cmd
}

func (s *serve) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&s.listen, "listen", "127.0.0.1:8091",
		"`address` to listen on; port 0 picks a free one")
	cli.LatencyVar(flags, &s.latency)
	cli.DurationVar(flags, &s.tokenTTL, "token-ttl", sandbox.DefaultTokenTTL,
		"how long an access token lives")
	flags.StringVar(&s.rules, "rules", "", "JSON `file` with a rule or a list of rules")
	flags.StringVar(&s.like, "like", "",
		"as strict as WeChat by its pages of `today`, or by the older API document: "+
			"today or document")
	flags.StringVar(&s.settings, "settings", "",
		"JSON `file` with settings, which come on top of --like")
	flags.StringVar(&s.apps, "apps", "",
		"JSON `file` with the apps there are and their secrets; without it every one is good")
	cli.AddLogFlags(cmd, &s.level)
	cli.Complete(cmd, "like", sandbox.Likes)
	for _, flag := range []string{"apps", "rules", "settings"} {
		_ = cmd.MarkFlagFilename(flag, "json") // the flags were added above
	}
}

func (s *serve) run(ctx context.Context) error {
	if err := cli.CheckAddress("--listen", s.listen); err != nil {
		return err
	}
	if s.tokenTTL < time.Second {
		return cli.Usagef("--token-ttl %s is shorter than a second, "+
			"the least that WeChat can announce", s.tokenTTL)
	}
	var rules []sandbox.Rule
	if s.rules != "" {
		var err error
		if rules, err = readRules(s.rules); err != nil {
			return err
		}
	}
	settings, err := s.readSettings()
	if err != nil {
		return err
	}
	apps, err := readApps(s.apps)
	if err != nil {
		return err
	}
	box := sandbox.New(sandbox.Options{
		Apps: apps, TokenTTL: s.tokenTTL, Latency: s.latency, Settings: settings,
		Log: s.streams.Logger(&s.level),
	})
	for _, rule := range rules {
		box.Add(rule)
	}
	phone.Attach(box)
	url, err := box.Listen(s.listen)
	if err != nil {
		return cli.AddressInUse(err, s.listen, "--listen")
	}
	if err := s.announce(url, len(rules)); err != nil {
		_ = box.Close() // the error of the output says more
		return err
	}
	<-ctx.Done()
	s.streams.Notef("stopped")
	return box.Close()
}

// Running is where the sandbox is, as JSON.
type Running struct {
	URL   string `json:"url"`
	Rules int    `json:"rules"`
}

// announce says where the sandbox is and what to do with it. The address alone is the result; the
// rest is for people.
func (s *serve) announce(url string, rules int) error {
	if s.streams.AsJSON() {
		return s.streams.Value(Running{url, rules})
	}
	if err := s.streams.Printf("%s\n", url); err != nil {
		return err
	}
	s.streams.Notef(`The phone, with what users receive: %s
A fake WeChat API, %s. Point kefu at it: KEFU_WECHAT_BASE_URL=%s
What can be done with it:  curl -s %s/
What was received:         curl -s '%s/sandbox/received?newest=10'
Have 5 %% of sends busy:    curl -s %s/sandbox/rules -d '{"call":"send","errcode":-1,"share":0.05}'
Be as strict as WeChat:    curl -s %s/sandbox/settings -d '{"like":"today"}'
Ctrl-C stops it.`, url+phone.Path, cli.CountOrNo(rules, "rule"), url, url, url, url, url)
	return nil
}

// readSettings puts --like and --settings together.
func (s *serve) readSettings() (sandbox.Settings, error) {
	settings, known := sandbox.Like(s.like)
	if s.like != "" && !known {
		return settings, cli.Usagef("--like %q is not %s", s.like,
			strings.Join(sandbox.Likes(), " or "))
	}
	if s.settings == "" {
		return settings, nil
	}
	text, err := readTextFile(s.settings)
	if err != nil {
		return settings, cli.Usagef("--settings: %w", err)
	}
	if settings, err = sandbox.ReadSettings(text, settings); err != nil {
		return settings, cli.Usagef("--settings %s: %w", s.settings, err)
	}
	return settings, nil
}

// readApps reads {"appid": "secret"} of every app.
func readApps(path string) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	content, err := readTextFile(path)
	if err != nil {
		return nil, cli.Usagef("--apps: %w", err)
	}
	var apps map[string]string
	// the error does not quote the text: it holds secrets
	if json.Unmarshal(content, &apps) != nil || len(apps) == 0 {
		return nil, cli.Usagef(`--apps %s: not JSON such as {"wx0000000000000001": "its secret"}`,
			path)
	}
	return apps, nil
}

// readRules reads one rule or a list of them.
func readRules(path string) ([]sandbox.Rule, error) {
	content, err := readTextFile(path)
	if err != nil {
		return nil, cli.Usagef("--rules: %w", err)
	}
	var rules []sandbox.Rule
	if strings.HasPrefix(strings.TrimSpace(string(content)), "{") {
		rules = make([]sandbox.Rule, 1)
		err = json.Unmarshal(content, &rules[0])
	} else {
		err = json.Unmarshal(content, &rules)
	}
	if err != nil {
		return nil, cli.Usagef("--rules %s: %w", path, err)
	}
	for i := range rules {
		if err := rules[i].Check(); err != nil {
			return nil, cli.Usagef("--rules %s, rule %s: %w", path, fmt.Sprint(i+1), err)
		}
	}
	return rules, nil
}

func readTextFile(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	return textfile.Trim(content), err
}
