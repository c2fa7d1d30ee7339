package wechat

import (
	"bytes"
	"crypto/md5" //nolint:gosec // G501: the API takes passwords in this form
	"encoding/hex"
	"fmt"
	"image/jpeg"
	"net/http"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// InputError says what is wrong with a value before any call is made with it. It does not hold the
// value.
type InputError struct {
	Field string // as the API calls it
	Rule  string // "7 characters, at most 6"
}

// Error returns the field and the rule.
func (e *InputError) Error() string { return e.Field + ": " + e.Rule }

// NicknameRule says how long a nickname may be, which has changed with time.
type NicknameRule string

// The rules for nicknames.
const (
	NicknameDocument NicknameRule = "document" // 6 Chinese or 12 Latin characters, as documented
	NicknameToday    NicknameRule = "today"    // 16 characters of any kind, as on today's page
)

// Check tells whether a kfaccount can be added or changed so. Its error is an *InputError.
func (k KFAccountChange) Check(rule NicknameRule) error {
	if err := CheckKFAccount(k.Account); err != nil {
		return err
	}
	if err := CheckNickname(k.Nickname, rule); err != nil {
		return err
	}
	if !k.Password.Empty() && !isMD5(k.Password.Reveal()) {
		return &InputError{"password", "not 32 hexadecimal digits"}
	}
	return nil
}

// The parts of a kfaccount, in bytes: they are ASCII.
const (
	maxKFPrefix   = 10
	maxKFWeChatID = 30
)

// CheckKFAccount tells whether s is the full name of a kfaccount: prefix@wechatid, the prefix of 1
// to 10 letters, digits and underscores, the app's WeChat id (微信号) of at most 30.
func CheckKFAccount(s string) error {
	prefix, wechatID, ok := strings.Cut(s, "@")
	if !ok || prefix == "" || wechatID == "" || strings.Contains(wechatID, "@") {
		return &InputError{"kf_account", "must be prefix@wechatid, such as test1@test"}
	}
	for _, part := range []struct {
		text, name, allowed, extra string
		most                       int
	}{
		{prefix, "the prefix", "letters, digits and underscores", "_", maxKFPrefix},
		{wechatID, "the wechat id behind the @", "letters, digits, underscores and hyphens", "_-",
			maxKFWeChatID},
	} {
		if strings.ContainsFunc(part.text,
			func(r rune) bool {
				return !isLetterOrDigit(r) && !strings.ContainsRune(part.extra, r)
			}) {
			return &InputError{"kf_account", part.name + " is of " + part.allowed + " only"}
		}
		if len(part.text) > part.most {
			return &InputError{"kf_account",
				fmt.Sprintf("%s has %d characters, at most %d", part.name,
					len(part.text), part.most)}
		}
	}
	return nil
}

func isLetterOrDigit(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// CheckNickname tells whether a kfaccount may be called s.
func CheckNickname(s string, rule NicknameRule) error {
	unfit := func(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp) }
	switch {
	case !utf8.ValidString(s):
		return &InputError{"nickname", "not UTF-8"}
	case strings.TrimSpace(s) == "":
		return &InputError{"nickname", "blank"}
	case strings.ContainsFunc(s, unfit):
		return &InputError{"nickname", "holds a control character or line break"}
	}
	if rule == NicknameToday {
		if n := utf8.RuneCountInString(s); n > 16 {
			return &InputError{"nickname", fmt.Sprintf("%d characters, at most 16", n)}
		}
		return nil
	}
	halves := 0
	for _, r := range s {
		if halves++; r >= utf8.RuneSelf {
			halves++
		}
	}
	if halves > 12 {
		return &InputError{"nickname", fmt.Sprintf("%d characters, at most 6 Chinese or 12 Latin "+
			"ones (limits.nickname: today allows 16)", utf8.RuneCountInString(s))}
	}
	return nil
}

var md5Form = regexp.MustCompile(`^[0-9a-fA-F]{32}$`)

func isMD5(s string) bool { return md5Form.MatchString(s) }

// HashPassword returns a password as the API wants it: its MD5 in 32 hex digits. What has that form
// already is taken as it is.
func HashPassword(text string) Secret {
	if text == "" || isMD5(text) {
		return NewSecret(strings.ToLower(text))
	}
	sum := md5.Sum([]byte(text)) //nolint:gosec // G401: the form that the API takes
	return NewSecret(hex.EncodeToString(sum[:]))
}

const (
	// MaxAvatar bounds an avatar's file, in bytes. The document names no size; no picture of 640 by
	// 640 comes near.
	MaxAvatar = 5 << 20

	avatarSide  = 640 // what the document recommends, in pixels
	avatarSlack = 64  // near enough
	maxPixels   = 64 << 20
)

// CheckAvatar tells whether file is a JPEG picture that can be an avatar; its error is an
// *InputError. advice, if any, is about a size that the document does not recommend.
func CheckAvatar(file []byte) (advice string, err error) {
	switch {
	case len(file) == 0:
		return "", &InputError{"media", "the file is empty"}
	case len(file) > MaxAvatar:
		return "", &InputError{"media",
			fmt.Sprintf("the file is larger than %d MiB", MaxAvatar>>20)}
	}
	size, err := jpeg.DecodeConfig(bytes.NewReader(file))
	if err == nil && size.Width*size.Height > maxPixels {
		return "", &InputError{"media",
			fmt.Sprintf("the picture has %d×%d pixels, which is no size for an avatar",
				size.Width, size.Height)}
	}
	if err == nil {
		_, err = jpeg.Decode(bytes.NewReader(file)) // the whole of it: half a file has a good head
	}
	if err != nil {
		kind, _, _ := strings.Cut(http.DetectContentType(file), ";")
		if kind == "image/jpeg" {
			return "", &InputError{"media", "the file begins like a JPEG and is broken"}
		}
		return "", &InputError{"media",
			"the file is no JPEG but " + kind + ": an avatar must be a JPG"}
	}
	if !nearRecommendedSide(size.Width) || !nearRecommendedSide(size.Height) {
		advice = fmt.Sprintf("the picture has %d×%d pixels; %d×%[3]d looks best", size.Width,
			size.Height, avatarSide)
	}
	return advice, nil
}

func nearRecommendedSide(side int) bool {
	return side >= avatarSide-avatarSlack && side <= avatarSide+avatarSlack
}
