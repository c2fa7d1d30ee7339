package wechat

import (
	"bytes"
	"image"
	"image/gif"
	"image/png"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func requireRule(t *testing.T, err error, field, rule, name string) {
	t.Helper()
	if rule == "" {
		require.NoError(t, err, name)
		return
	}
	var e *InputError
	require.ErrorAs(t, err, &e, name)
	require.Equal(t, field+": "+rule, e.Error(), name)
}

func TestCheckKFAccount(t *testing.T) {
	t.Parallel()
	const form = "must be prefix@wechatid, such as test1@test"
	for account, rule := range map[string]string{
		"test1@test":                   "",
		"a@b":                          "",
		"Kf_2015@gh_0123-abc":          "",
		"1234567890@x":                 "",
		"x@" + strings.Repeat("a", 30): "",
		"":                             form,
		"test1":                        form,
		"@test":                        form,
		"test1@":                       form,
		"a@b@c":                        form,
		"12345678901@x":                "the prefix has 11 characters, at most 10",
		"x@" + strings.Repeat("a", 31): "the wechat id behind the @ has 31 characters, at most 30",
		"客服1@test":                     "the prefix is of letters, digits and underscores only",
		"te-st@test":                   "the prefix is of letters, digits and underscores only",
		"test 1@test":                  "the prefix is of letters, digits and underscores only",
		"test1@te.st": "the wechat id behind the @ is of letters, digits, underscores and " +
			"hyphens only",
		"test1@test\n": "the wechat id behind the @ is of letters, digits, underscores and " +
			"hyphens only",
		"te\xffst@test":                  "the prefix is of letters, digits and underscores only",
		"t&access_token=x@test":          "the prefix is of letters, digits and underscores only",
		strings.Repeat("x", 1<<20) + "@": form,
	} {
		requireRule(t, CheckKFAccount(account), "kf_account", rule, account)
	}
}

func TestCheckNickname(t *testing.T) {
	t.Parallel()
	const hint = " characters, at most 6 Chinese or 12 Latin ones (limits.nickname: today allows " +
		"16)"
	for name, row := range map[string]struct{ nickname, document, today string }{
		"Chinese":              {"客服1", "", ""},
		"6 Chinese characters": {"一二三四五六", "", ""},
		"7 Chinese characters": {"一二三四五六七", "7" + hint, ""},
		"12 Latin letters":     {"abcdefghijkl", "", ""},
		"13 Latin letters":     {"abcdefghijklm", "13" + hint, ""},
		"a mixture":            {"客服ABCDEFGH", "", ""},
		"one more":             {"客服ABCDEFGHI", "11" + hint, ""},
		"16 characters":        {strings.Repeat("客", 16), "16" + hint, ""},
		"17 characters": {
			strings.Repeat("客", 17), "17" + hint, "17 characters, at most 16",
		},
		"an emoji": {"小王👍", "", ""},
		"nothing":  {"", "blank", "blank"},
		"blanks":   {" \u3000", "blank", "blank"},
		"a line break": {
			"a\nb", "holds a control character or line break",
			"holds a control character or line break",
		},
		"a line separator": {
			"a\u2028b", "holds a control character or line break",
			"holds a control character or line break",
		},
		"a NUL": {
			"a\x00", "holds a control character or line break",
			"holds a control character or line break",
		},
		"not UTF-8": {"a\xff", "not UTF-8", "not UTF-8"},
	} {
		requireRule(t, CheckNickname(row.nickname, NicknameDocument), "nickname",
			row.document, name)
		requireRule(t, CheckNickname(row.nickname, NicknameToday), "nickname", row.today, name)
	}
}

func TestAPasswordIsHashedUnlessItIsAHash(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"secret":                           "5ebe2294ecd0e0f08eab7690d2a6ee69",
		"pswmd5":                           "6de35f57e512fb40ec52fbf8bbdee08d",
		"密码":                               "a8105204604a0b11e916f3879aae3b0b",
		"5ebe2294ecd0e0f08eab7690d2a6ee69": "5ebe2294ecd0e0f08eab7690d2a6ee69",
		"5EBE2294ECD0E0F08EAB7690D2A6EE69": "5ebe2294ecd0e0f08eab7690d2a6ee69",
		"":                                 "",
	} {
		got := HashPassword(text)
		if text == "" {
			require.True(t, got.Empty())
			continue
		}
		require.Equal(t, want, got.Reveal(), text)
		require.Equal(t, want, HashPassword(got.Reveal()).Reveal())
		requireNoLeak(t, KFAccountChange{Password: got}, got.Reveal())
	}
}

func TestCheckOfAChange(t *testing.T) {
	t.Parallel()
	good := KFAccountChange{"test1@test", "客服1", HashPassword("x")}
	for name, row := range map[string]struct {
		change      func(k *KFAccountChange)
		field, rule string
	}{
		"all is well": {func(*KFAccountChange) {}, "", ""},
		"no password": {func(k *KFAccountChange) { k.Password = Secret{} }, "", ""},
		"no account": {
			func(k *KFAccountChange) { k.Account = "" },
			"kf_account", "must be prefix@wechatid, such as test1@test",
		},
		"no nickname": {func(k *KFAccountChange) { k.Nickname = "" }, "nickname", "blank"},
		"a clear text": {
			func(k *KFAccountChange) { k.Password = NewSecret("secret") },
			"password", "not 32 hexadecimal digits",
		},
		"33 digits": {
			func(k *KFAccountChange) { k.Password = NewSecret(strings.Repeat("a", 33)) },
			"password", "not 32 hexadecimal digits",
		},
		"a line behind": {
			func(k *KFAccountChange) { k.Password = NewSecret(strings.Repeat("a", 32) + "\n") },
			"password", "not 32 hexadecimal digits",
		},
	} {
		k := good
		row.change(&k)
		requireRule(t, k.Check(NicknameDocument), row.field, row.rule, name)
	}
}

func TestCheckAvatar(t *testing.T) {
	t.Parallel()
	var drawing, moving bytes.Buffer
	require.NoError(t, png.Encode(&drawing, image.NewGray(image.Rect(0, 0, 640, 640))))
	require.NoError(t, gif.Encode(&moving, image.NewGray(image.Rect(0, 0, 640, 640)), nil))
	photo := testPhoto
	bomb := bytes.Clone(photo)
	at := bytes.Index(bomb, []byte{0xff, 0xc0}) // start of frame: length, precision, height, width
	copy(bomb[at+5:], []byte{0xff, 0xff, 0xff, 0xff})
	for name, row := range map[string]struct {
		file         []byte
		advice, rule string
	}{
		"as recommended":   {photo, "", ""},
		"a little smaller": {testJPEG(600, 600), "", ""},
		"a little larger":  {testJPEG(704, 700), "", ""},
		"small": {
			testJPEG(80, 80), "the picture has 80×80 pixels; 640×640 looks best", "",
		},
		"not square": {
			testJPEG(640, 320), "the picture has 640×320 pixels; 640×640 looks best", "",
		},
		"empty": {nil, "", "the file is empty"},
		"a PNG": {
			drawing.Bytes(), "", "the file is no JPEG but image/png: an avatar must be a JPG",
		},
		"a GIF": {moving.Bytes(), "", "the file is no JPEG but image/gif: an avatar must be a JPG"},
		"a text": {
			[]byte("hello"), "", "the file is no JPEG but text/plain: an avatar must be a JPG",
		},
		"a web page": {
			[]byte("<html>"), "", "the file is no JPEG but text/html: an avatar must be a JPG",
		},
		"the head of one": {photo[:20], "", "the file begins like a JPEG and is broken"},
		"half of one":     {photo[:len(photo)/2], "", "the file begins like a JPEG and is broken"},
		"too large":       {make([]byte, MaxAvatar+1), "", "the file is larger than 5 MiB"},
		"pixels without end": {
			bomb, "", "the picture has 65535×65535 pixels, which is no size for an avatar",
		},
	} {
		advice, err := CheckAvatar(row.file)
		requireRule(t, err, "media", row.rule, name)
		require.Equal(t, row.advice, advice, name)
	}
}
