package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/sandbox"
)

// sandboxCmd is `kefu sandbox`.
type sandboxCmd struct {
	cli      *cli
	listen   string
	latency  string
	tokenTTL time.Duration
	rules    string
	level    slog.LevelVar
}

func newSandboxCmd(c *cli) *cobra.Command {
	s := &sandboxCmd{cli: c}
	cmd := &cobra.Command{
		Use:     "sandbox",
		Short:   "Run a fake WeChat API to develop and test against",
		GroupID: groupRun,
		Long: `Runs a fake of WeChat's customer-service API: it issues tokens, checks and records messages and answers as WeChat does.
Nothing reaches anybody. It can be scripted to be slow, busy, broken or gone, from a file or while it runs; the page at
its address says how. Ctrl-C stops it.`,
		Example: `  kefu sandbox
  kefu sandbox --listen 127.0.0.1:0 --latency 20ms..80ms
  kefu sandbox --token-ttl 30s --rules rules.json

rules.json, of which the first rule whose turn it is acts:
  [{"call": "send", "errcode": -1, "share": 0.05},
   {"call": "send", "openid": "oUser1", "times": 1, "reset": "after"}]`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&s.listen, "listen", "127.0.0.1:8091", "`address` to listen on; port 0 picks a free one")
	flags.StringVar(&s.latency, "latency", "", "how long each send takes: a `duration` (50ms) or a range (20ms..80ms)")
	flags.DurationVar(&s.tokenTTL, "token-ttl", sandbox.DefaultTokenTTL, "how long an access token lives")
	flags.StringVar(&s.rules, "rules", "", "JSON `file` with a rule or a list of rules")
	c.addLogFlags(cmd, &s.level)
	_ = cmd.MarkFlagFilename("rules", "json") // the flag was added above
	return cmd
}

func (s *sandboxCmd) run(ctx context.Context) error {
	if err := checkAddress("--listen", s.listen); err != nil {
		return err
	}
	latency, err := parseLatency(s.latency)
	if err != nil {
		return err
	}
	if s.tokenTTL < time.Second {
		return usagef("--token-ttl %s is shorter than a second, the least that WeChat can announce", s.tokenTTL)
	}
	var rules []sandbox.Rule
	if s.rules != "" {
		if rules, err = readRules(s.rules); err != nil {
			return err
		}
	}
	box := sandbox.New(sandbox.Options{TokenTTL: s.tokenTTL, Latency: latency, Log: s.cli.logger(&s.level)})
	for _, rule := range rules {
		box.Add(rule)
	}
	url, err := box.Listen(s.listen)
	if err != nil {
		return addressInUse(err, s.listen, "--listen")
	}
	if err := s.announce(url, len(rules)); err != nil {
		_ = box.Close() // the error of the output says more
		return err
	}
	<-ctx.Done()
	s.cli.notef("stopped")
	return box.Close()
}

// announce says where the sandbox is and what to do with it. The address alone is the result; the rest is for people.
func (s *sandboxCmd) announce(url string, rules int) error {
	if s.cli.format != formatTable {
		return s.cli.value(struct {
			URL   string `json:"url"`
			Rules int    `json:"rules"`
		}{url, rules})
	}
	if err := s.cli.printf("%s\n", url); err != nil {
		return err
	}
	s.cli.notef(`A fake WeChat API, %s. Point kefu at it: KEFU_WECHAT_BASE_URL=%s
What can be done with it:  curl -s %s/
What was received:         curl -s '%s/sandbox/received?newest=10'
Have 5 %% of sends busy:    curl -s %s/sandbox/rules -d '{"call":"send","errcode":-1,"share":0.05}'
Ctrl-C stops it.`, count(rules, "rule"), url, url, url, url)
	return nil
}

// parseLatency reads "50ms" or "20ms..80ms".
func parseLatency(s string) (sandbox.Latency, error) {
	if s == "" {
		return sandbox.Latency{}, nil
	}
	low, high, ranged := strings.Cut(s, "..")
	least, err := time.ParseDuration(low)
	most := least
	if err == nil && ranged {
		most, err = time.ParseDuration(high)
	}
	if err != nil || least < 0 || most < least {
		return sandbox.Latency{}, usagef("--latency %q is not a duration such as 50ms or a range such as 20ms..80ms", s)
	}
	return sandbox.Latency{Min: least, Max: most}, nil
}

// readRules reads one rule or a list of them.
func readRules(path string) ([]sandbox.Rule, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, usagef("--rules: %w", err)
	}
	var rules []sandbox.Rule
	if strings.HasPrefix(strings.TrimSpace(string(content)), "{") {
		rules = make([]sandbox.Rule, 1)
		err = json.Unmarshal(content, &rules[0])
	} else {
		err = json.Unmarshal(content, &rules)
	}
	if err != nil {
		return nil, usagef("--rules %s: %w", path, err)
	}
	for i := range rules {
		if err := rules[i].Check(); err != nil {
			return nil, usagef("--rules %s, rule %s: %w", path, fmt.Sprint(i+1), err)
		}
	}
	return rules, nil
}
