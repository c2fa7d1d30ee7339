package config

import (
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// check looks at what no single value shows: values that need each other, values that contradict
// each other, and files that are missing.
func (l *loader) check() {
	l.checkNATS()
	l.checkWeChat()
	l.checkConsole()
	l.checkSettings(&l.cfg.Defaults, defaultsPath)
	l.checkApps()
	checkFiles(l, configKeys, l.cfg, "")
}

func (l *loader) checkNATS() {
	n := l.cfg.NATS
	if (n.TLS.CertFile == "") != (n.TLS.KeyFile == "") {
		there, missing := "nats.tls.cert_file", "nats.tls.key_file"
		if n.TLS.CertFile == "" {
			there, missing = missing, there
		}
		l.problem(there, "needs "+missing+" as well")
	}
	if hasUser(n.URL) {
		l.warn("nats.url",
			"holds a password or token: nats.creds_file keeps it out of the configuration")
	}
	if !n.IsEmbedded() {
		return
	}
	if n.Replicas > 1 {
		l.problem("nats.replicas",
			strconv.Itoa(n.Replicas)+
				" is not possible with an embedded broker, which is one server")
	}
	if n.CredsFile != "" {
		l.warn("nats.creds_file", "has no effect with an embedded broker")
	}
	if !loopbackAddress(n.Listen) && !l.failed["nats.listen"] {
		l.warn("nats.listen",
			"can be reached from other machines, and an embedded broker asks nobody who they are")
	}
}

// weChatHosts are the hosts WeChat documents for the API: the main one and those of its regions.
var weChatHosts = []string{"api.weixin.qq.com", "api2.weixin.qq.com", "sh.api.weixin.qq.com",
	"sz.api.weixin.qq.com", "hk.api.weixin.qq.com"}

func (l *loader) checkWeChat() {
	w := &l.cfg.WeChat
	w.BaseURL = strings.TrimRight(w.BaseURL, "/")
	if l.failed["wechat.base_url"] {
		return
	}
	l.checkTokenURL("wechat.base_url", w.BaseURL)
	u, err := url.Parse(w.BaseURL)
	if err != nil || u.Scheme != "https" || isLoopback(u.Hostname()) {
		return
	}
	for _, host := range weChatHosts {
		if strings.EqualFold(u.Hostname(), host) {
			return
		}
	}
	l.warn("wechat.base_url",
		"is not a host of WeChat: "+u.Hostname()+" sees every access token and message")
}

// checkTokenURL refuses a URL over which a token would cross a network in clear text.
func (l *loader) checkTokenURL(key, raw string) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "https" || isLoopback(u.Hostname()) {
		return
	}
	if l.cfg.WeChat.AllowHTTP {
		l.warn(key, "is plain http: whoever is between can read the access token")
		return
	}
	l.problem(key, strconv.Quote(RedactURL(raw))+
		" is not https: the access token would cross the network in clear text; "+
		"http is for this machine only (wechat.allow_http: true lifts this on a test network)")
}

func (l *loader) checkConsole() {
	c := l.cfg.Console
	if c.TokenFile == "" && c.Listen != "" && !loopbackAddress(c.Listen) && !l.failed["console.listen"] {
		l.problem("console.listen",
			strconv.Quote(c.Listen)+
				" can be reached from other machines: set console.token_file, or "+
				"listen on 127.0.0.1")
	}
}

// checkSettings checks one set of settings: the defaults, or those of an app. Of an app it checks
// only what the app does not inherit: that was checked with the defaults.
func (l *loader) checkSettings(s *Settings, prefix string) {
	// own reports whether this set itself has one of the keys, with usable values.
	own := func(names ...string) bool {
		found := prefix == defaultsPath
		for _, name := range names {
			if l.failed[prefix+name] || l.failed[defaultsPath+name] {
				return false
			}
			found = found || l.set(prefix+name)
		}
		return found
	}
	if own("retry.first", "retry.cap") && s.Retry.Cap < s.Retry.First {
		l.problem(prefix+"retry.cap",
			strconv.Quote(duration(s.Retry.Cap))+" is shorter than retry.first, "+
				duration(s.Retry.First))
	}
	if own("token") {
		switch s.Token.Kind {
		case TokenURL:
			l.checkTokenURL(prefix+"token", s.Token.URL)
		case TokenFile:
			l.checkFile(prefix+"token", s.Token.Path, true)
		}
	}
	if keep := l.cfg.Worker.Ledger.Keep; own("expire_after") && !l.failed["worker.ledger.keep"] &&
		l.cfg.Worker.Ledger.Mode == LedgerFull && keep < s.ExpireAfter {
		l.warn(prefix+"expire_after",
			duration(s.ExpireAfter)+" is longer than worker.ledger.keep, "+duration(keep)+
				": an intent that waits longer than that is no longer guarded "+
				"against a double send")
	}
	if own("duplicate_window") && s.DuplicateWindow > time.Hour {
		l.warn(prefix+"duplicate_window",
			duration(s.DuplicateWindow)+
				" of ids are held in the broker's memory; the ledger recognises later "+
				"repeats anyway")
	}
}

func (l *loader) checkApps() {
	seen := map[string]string{}
	for i := range l.cfg.Apps {
		app, key := &l.cfg.Apps[i], appsPath+strconv.Itoa(i)
		prefix := key + "."
		if l.failed[key] {
			continue
		}
		switch first, twice := seen[app.AppID]; {
		case l.failed[prefix+"appid"]:
		case app.AppID == "":
			l.problem(key, "has no appid")
		case twice:
			l.problem(prefix+"appid", strconv.Quote(app.AppID)+" is the appid of "+first+" already")
		default:
			seen[app.AppID] = display(key)
		}
		l.checkSecret(app, prefix)
		l.checkSettings(&app.Settings, prefix)
		checkFiles(l, appKeys, app, prefix)
	}
}

func (l *loader) checkSecret(app *App, prefix string) {
	if l.failed[prefix+"token"] || l.failed[defaultsPath+"token"] || l.failed[prefix+"secret"] {
		return
	}
	key := strings.TrimSuffix(prefix, ".")
	switch {
	case app.SecretFile != "" && app.SecretEnv != "":
		l.problem(prefix+"secret_env", "and secret_file are both given: one of them is enough")
	case app.SecretFile == "" && app.SecretEnv == "" && app.Token.NeedsSecret():
		l.problem(key, "has neither secret_file nor secret_env, and token "+app.Token.String()+
			" needs the AppSecret")
	case app.SecretEnv != "" && !l.failed[prefix+"secret_env"]:
		if value, ok := l.lookup(app.SecretEnv); !ok || value == "" {
			l.warn(prefix+"secret_env", "the variable "+app.SecretEnv+" is not set")
		}
	}
}

// checkFiles warns of files that are missing or that others can read. Neither stops the loading: a
// configuration is also checked where its files are not, and a secret may be mounted later.
func checkFiles[T any](l *loader, rows []row[T], from *T, prefix string) {
	for _, r := range rows {
		path, ok := r.field(from).(*string)
		if r.rule.kind != "file" || !ok || *path == "" || l.failed[prefix+r.path] {
			continue
		}
		l.checkFile(prefix+r.path, *path, r.rule.secret)
	}
}

func (l *loader) checkFile(key, path string, secret bool) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		l.warn(key, path+": "+reason(err))
	case info.IsDir():
		l.warn(key, path+" is a folder, not a file")
	case secret && ReadableByOthers(info):
		l.warn(key,
			path+" can be read by others (mode "+info.Mode().Perm().String()+"): chmod 600 "+path)
	}
}
