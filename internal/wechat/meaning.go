package wechat

// Meaning is a code as people are shown it: with what the worker does about it.
type Meaning struct {
	Code
	DoesEn string `json:"does_en"`
	DoesZh string `json:"does_zh"`
}

// Explained returns the meanings of codes.
func Explained(rows []Code) []Meaning {
	var list []Meaning
	for _, row := range rows {
		en, zh := row.Does()
		list = append(list, Meaning{row, en, zh})
	}
	return list
}
