package doctor

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"errors"

	"github.com/kefuhq/kefu/internal/config"
)

// secretSeen is what can be said of an AppSecret without showing anything of it.
type secretSeen struct {
	app    string
	needed bool   // the app's token comes from it
	source string // for people: "file /etc/kefu/wx1.secret"
	file   string // "" for a variable
	err    error  // why it cannot be used
	utf16  bool   // it is written in that, as some editors on Windows do
	others bool   // can read it
	usual  bool   // it has the form of an AppSecret
	real   bool   // it is for WeChat itself, not for a fake
}

func seeSecret(_ context.Context, s *scene, app config.App) (secretSeen, error) {
	seen := secretSeen{app: app.AppID, needed: app.Token.NeedsSecret(), source: app.SecretSource(),
		file: app.SecretFile, real: isWeChats(s.Config.WeChat.BaseURL)}
	if !seen.needed {
		return seen, nil
	}
	secret, err := app.ReadSecret()
	seen.err = err
	_, notHex := hex.DecodeString(secret)
	seen.usual = notHex == nil && len(secret) == 32
	if app.SecretFile != "" {
		seen.others, seen.utf16 = looksOf(app.SecretFile)
	}
	return seen, nil
}

// looksOf says whether others can read a file, and whether it begins as UTF-16 does.
func looksOf(file string) (others, utf16 bool) {
	f, err := os.Open(file)
	if err != nil {
		return false, false
	}
	defer func() { _ = f.Close() }() // nothing was written
	if info, err := f.Stat(); err == nil {
		others = config.ReadableByOthers(info)
	}
	head := make([]byte, 2)
	_, _ = io.ReadFull(f, head) // a shorter file is not UTF-16
	return others, bytes.Equal(head, []byte{0xff, 0xfe}) || bytes.Equal(head, []byte{0xfe, 0xff})
}

func judgeSecret(s secretSeen) []Finding {
	const again = "Copy the AppSecret from mp.weixin.qq.com once more into "
	why := ""
	if s.err != nil {
		why = strings.TrimPrefix(s.err.Error(), "secret of app "+s.app+": ")
	}
	switch {
	case !s.needed:
		return []Finding{well("none needed: the token comes from elsewhere")}
	case errors.Is(s.err, fs.ErrNotExist):
		return []Finding{bad(why, "Write the AppSecret into that file (chmod 600), or "+
			"correct secret_file.")}
	case errors.Is(s.err, fs.ErrPermission):
		return []Finding{bad(why, "Give the file to the user that runs kefu: chown, "+
			"then chmod 600 "+s.file+".")}
	case s.err != nil && s.utf16:
		return []Finding{bad("the "+s.source+" is written in UTF-16", "Save it as UTF-8: "+
			"Notepad's \"Unicode\" is UTF-16.")}
	case s.err != nil && s.file == "":
		return []Finding{bad(why, "Set the variable to the AppSecret where kefu runs.")}
	case s.err != nil:
		return []Finding{bad(why, again+s.file+", alone and on one line.")}
	}
	var found []Finding
	if s.others {
		found = append(found, risky("the "+s.source+" can be read by others", "chmod 600 "+s.file))
	}
	if s.real && !s.usual {
		found = append(found, risky("what the "+s.source+" holds does not look like an AppSecret, "+
			"which has 32 hexadecimal digits", again+"it."))
	}
	return or(found, "%s", s.source)
}

// keyFile is a file with a key in it.
type keyFile struct {
	key    string // of the configuration
	path   string
	err    error
	others bool // can read it
}

func seeKeyFiles(_ context.Context, s *scene) ([]keyFile, error) {
	var files []keyFile
	for _, f := range []keyFile{
		{key: "nats.creds_file", path: s.Config.NATS.CredsFile},
		{key: "nats.tls.key_file", path: s.Config.NATS.TLS.KeyFile},
		{key: "console.token_file", path: s.Config.Console.TokenFile},
	} {
		if f.path == "" {
			continue
		}
		if content, err := os.ReadFile(f.path); err != nil {
			f.err = err
		} else if len(bytes.TrimSpace(content)) == 0 {
			f.err = fmt.Errorf("%s is empty", f.path)
		}
		f.others, _ = looksOf(f.path)
		files = append(files, f)
	}
	return files, nil
}

func judgeKeyFiles(files []keyFile) []Finding {
	var found []Finding
	var keys []string
	for _, f := range files {
		keys = append(keys, f.key)
		switch {
		case f.err != nil:
			found = append(found, bad(f.key+": "+f.err.Error(),
				"Write the file, or correct "+f.key+"."))
		case f.others:
			found = append(found, risky(f.key+": "+f.path+" can be read by others",
				"chmod 600 "+f.path))
		}
	}
	if len(files) == 0 {
		return []Finding{well("none are configured")}
	}
	return or(found, "%s", strings.Join(keys, ", "))
}
