package wechat

// contentCodes are the answers to a send that are about what is in the message: it will be refused
// again as it is.
var contentCodes = []Code{
	// Media.
	{
		CallSend, 40004, "media_type", FaultMessage,
		"not a valid media type", "不合法的媒体文件类型", srcJPM,
		doMediaEn, doMediaZh,
	},
	{
		CallSend, 40005, "file_type", FaultMessage,
		"not a valid file type", "上传的文件格式不正确", srcJPM,
		doMediaEn, doMediaZh,
	},
	{
		CallSend, 40006, "file_size", FaultMessage,
		"the file is too large or too small", "文件大小不符合要求", srcJPM,
		doMediaEn, doMediaZh,
	},
	{
		CallSend, 40007, "media_id_invalid", FaultMessage,
		"not a valid media_id, or temporary media older than 3 days",
		"不合法的 media_id，或临时素材已超过 3 天", srcJPM + "; community reports",
		"Upload the media again (temporary media lives 3 days) and publish the message " +
			"with the new media_id. In an mpnews the id may be " +
			"an article_id of the publish API: that belongs in an mpnewsarticle.",
		"请重新上传素材（临时素材仅保留 3 天），并用新的 media_id 重新发布消息。若为 mpnews，" +
			"该 id 可能是发布接口返回的 article_id，应改用 mpnewsarticle。",
	},
	{
		CallSend, 40009, "image_size", FaultMessage,
		"the image is too large", "图片尺寸过大", srcJPM,
		doMediaEn, doMediaZh,
	},
	{
		CallSend, 40010, "voice_size", FaultMessage,
		"the voice file has no valid size", "不合法的语音文件大小", srcJPM,
		doMediaEn, doMediaZh,
	},
	{
		CallSend, 40011, "video_size", FaultMessage,
		"the video file has no valid size", "不合法的视频文件大小", srcJPM,
		doMediaEn, doMediaZh,
	},
	{
		CallSend, 40012, "thumb_size", FaultMessage,
		"the thumbnail has no valid size", "不合法的缩略图文件大小", srcJPM,
		doMediaEn, doMediaZh,
	},
	{
		CallSend, 40118, "media_id_size", FaultMessage,
		"the media_id has no valid length", "media_id 长度不合法", srcJP,
		doMediaEn, doMediaZh,
	},
	{
		CallSend, 40121, "media_id_type", FaultMessage,
		"the media_id is of another type", "不合法的 media_id 类型", srcJP,
		doMediaEn, doMediaZh,
	},
	{
		CallSend, 40128, "media_not_api_uploaded", FaultMessage,
		"the media must have been uploaded through the API",
		"素材须通过接口（add_material）上传", srcJP,
		doMediaEn, doMediaZh,
	},
	{
		CallSend, 40137, "image_format", FaultMessage,
		"the image format is not supported", "不支持的图片格式", srcJP,
		doMediaEn, doMediaZh,
	},
	{
		CallSend, 41005, "media_missing", FaultMessage,
		"the media data is missing", "缺少多媒体文件数据", srcJP,
		doMediaEn, doMediaZh,
	},
	{
		CallSend, 41006, "media_id_missing", FaultMessage,
		"the media_id is missing", "缺少 media_id 参数", srcJP,
		doProducerEn, doProducerZh,
	},
	{
		CallSend, 44001, "media_empty", FaultMessage,
		"the media file is empty", "多媒体文件为空", srcJPM,
		doMediaEn, doMediaZh,
	},
	{
		CallSend, 45001, "media_too_large", FaultMessage,
		"the media file is too large", "多媒体文件大小超过限制", srcJPM,
		doMediaEn, doMediaZh,
	},
	{
		CallSend, 45007, "voice_too_long", FaultMessage,
		"the voice plays too long", "语音播放时间超过限制", srcJPM,
		doMediaEn, doMediaZh,
	},
	{
		CallSend, 46001, "media_not_found", FaultMessage,
		"the media does not exist", "素材不存在：找不到该 media_id", srcJP,
		doMediaEn, doMediaZh,
	},
	{
		CallSend, 53600, "article_id_invalid", FaultMessage,
		"not a valid article_id", "不合法的 article_id", srcPM,
		"Take the article_id from the publish API and publish the message again.",
		"请使用发布接口返回的 article_id 重新发布消息。",
	},
	{
		CallSend, 46007, "media_transcoding", FaultBusy,
		"the media is still being transcoded", "媒体文件正在转码", srcJW,
		"Nothing while it passes: kefu tries again. If it always ends so, upload the media again.",
		"偶发时无需处理，kefu 会自动重试。若始终如此，请重新上传素材。",
	},

	// The form of the request.
	{
		CallSend, 40008, "msgtype_invalid", FaultMessage,
		"not a valid msgtype", "不合法的消息类型", srcJPM,
		doProducerEn, doProducerZh,
	},
	{
		CallSend, 40033, "unicode_escapes", FaultMessage,
		"an illegal character: the body holds \\uXXXX escapes",
		"不合法的请求字符：不能包含 \\uxxxx 格式的字符",
		srcJPM + "; community reports",
		doEncoderEn, doEncoderZh,
	},
	{
		CallSend, 40035, "arguments_invalid", FaultMessage,
		"the arguments are invalid", "不合法的参数", srcJP,
		doProducerEn, doProducerZh,
	},
	{
		CallSend, 40038, "packaging_invalid", FaultMessage,
		"the form of the request is invalid", "不合法的请求格式", srcJP,
		doProducerEn, doProducerZh,
	},
	{
		CallSend, 40097, "arguments_wrong", FaultMessage,
		"the arguments are wrong", "参数错误", srcJP,
		doProducerEn, doProducerZh,
	},
	{
		CallSend, 40101, "parameter_missing", FaultMessage,
		"a parameter is missing; also what a wrong path answers",
		"缺少参数；接口路径有误时也会返回此码", srcJC,
		"Correct the producer; if every message ends so, check wechat.base_url.",
		"请修正生产方；若所有消息都如此，请检查 wechat.base_url。",
	},
	{
		CallSend, 40132, "wechat_id_invalid", FaultMessage,
		"not a valid WeChat id", "微信号不合法", srcJP,
		doProducerEn, doProducerZh,
	},
	{
		CallSend, 41009, "openid_missing", FaultMessage,
		"the touser is missing", "缺少 openid（touser）", srcJP,
		doProducerEn, doProducerZh,
	},
	{
		CallSend, 41011, "field_missing", FaultMessage,
		"a required field is missing", "缺少必填字段", srcJP,
		doProducerEn, doProducerZh,
	},
	{
		CallSend, 47001, "body_unparsable", FaultMessage,
		"the body cannot be parsed", "解析 JSON 内容错误", srcOJPM,
		"kefu checks and rewrites every message as JSON: report it with the rid.",
		"kefu 会校验每条消息并重新编码为 JSON：请附上 rid 反馈。",
	},
	{
		CallSend, 47002, "unicode_escapes_refused", FaultMessage,
		"the JSON uses \\uXXXX escapes where raw UTF-8 is wanted",
		"JSON 使用了 \\uxxxx 编码，应使用 UTF-8 原文", srcJ,
		doEncoderEn, doEncoderZh,
	},
	{
		CallSend, 49002, "openid_empty", FaultMessage,
		"the openid is empty", "openid 或 transid 为空", srcJW,
		doProducerEn, doProducerZh,
	},

	// Text and its limits.
	{
		CallSend, 44003, "news_empty", FaultMessage,
		"the news message has no content", "图文消息内容为空", srcJPM,
		doProducerEn, doProducerZh,
	},
	{
		CallSend, 44004, "text_empty", FaultMessage,
		"the text has no content", "文本消息内容为空", srcJPM,
		doProducerEn, doProducerZh,
	},
	{
		CallSend, 45002, "content_too_long", FaultMessage,
		"the content is too long (a text may have 2048 bytes, about 680 Chinese characters)",
		"消息内容超过限制（文本最长 2048 字节，约 680 个汉字）", srcJPM,
		"Split the text in the producer, or lower limits.text_bytes so that kefu refuses it " +
			"before the call.",
		"请在生产方拆分文本，或调低 limits.text_bytes，让 kefu 在调用前就拒绝。",
	},
	{
		CallSend, 45003, "title_too_long", FaultMessage,
		"the title is too long", "标题超过长度限制", srcJPM,
		doProducerEn, doProducerZh,
	},
	{
		CallSend, 45004, "description_too_long", FaultMessage,
		"the description is too long", "描述超过长度限制", srcJPM,
		doProducerEn, doProducerZh,
	},
	{
		CallSend, 45005, "url_too_long", FaultMessage,
		"the url is too long", "链接超过长度限制", srcJPM,
		doProducerEn, doProducerZh,
	},
	{
		CallSend, 45006, "picurl_too_long", FaultMessage,
		"the picurl is too long", "图片链接超过长度限制", srcJPM,
		doProducerEn, doProducerZh,
	},
	{
		CallSend, 45008, "too_many_articles", FaultMessage,
		"too many articles (today's API takes 1)", "图文条数超过限制（目前仅支持 1 条）", srcOJPM,
		"Send one article; set limits.news_articles to 1 so that kefu refuses more before the " +
			"call.",
		"请只发送 1 条图文；可将 limits.news_articles 设为 1，让 kefu 在调用前就拒绝。",
	},
	{
		CallSend, 45098, "menu_list_too_long", FaultMessage,
		"the msgmenu has too many entries", "菜单消息（msgmenu）的选项过多", srcJ,
		doProducerEn, doProducerZh,
	},
	{
		CallSend, 45099, "menu_item_too_long", FaultMessage,
		"an entry of the msgmenu is too long", "菜单消息（msgmenu）的选项内容过长", srcJ,
		doProducerEn, doProducerZh,
	},
	{
		CallSend, 45050, "custom_type_invalid", FaultMessage,
		"customer-service messages do not take this type", "客服消息不支持该类型", srcJPM,
		doProducerEn, doProducerZh,
	},
	{
		CallSend, 45162, "type_invalid", FaultMessage,
		"not a valid type for this account (news from a mini program draws it)",
		"该帐号不支持此消息类型（小程序发送图文会返回此码）", srcJMC,
		doProducerEn, doProducerZh,
	},
	{
		CallSend, 45166, "content_invalid", FaultMessage,
		"the content is invalid", "消息内容不合法", srcJPM,
		doProducerEn, doProducerZh,
	},
	{
		CallSend, 45113, "card_withdrawn", FaultMessage,
		"card messages are no longer supported (seen on mass send)",
		"卡券消息已下线（见于群发接口）", srcM,
		"Send a link or a mini-program card instead.",
		"请改为发送链接或小程序卡片。",
	},
	{
		CallSend, 40249, "marketing_refused", FaultMessage,
		"marketing content is refused", "营销类内容被拒绝", srcM,
		doProducerEn, doProducerZh,
	},
	{
		CallSend, 87014, "risky_content", FaultMessage,
		"the content is risky", "内容含有违法违规信息", srcJP,
		"Read the text: the platform's content check refused it. Repeated hits endanger the " +
			"account.",
		"请检查内容：未通过平台内容安全检测。多次触发可能导致帐号被处罚。",
	},
	{
		CallSend, 40062, "title_size", FaultMessage,
		"the title has no valid length", "标题长度不合法", srcJW,
		doProducerEn, doProducerZh,
	},
	{
		CallSend, 40126, "text_size", FaultMessage,
		"the text has no valid length", "文本长度不合法", srcJW,
		doProducerEn, doProducerZh,
	},
	{
		CallSend, 45168, "keyword_blacklisted", FaultMessage,
		"the content holds a forbidden keyword", "内容含有黑名单关键词", srcJW,
		"Take the forbidden word out of the text, and publish the message again.",
		"请去除文本中的违禁词后重新发布消息。",
	},

	// Links, cards, mini programs.
	{
		CallSend, 40039, "url_length", FaultMessage,
		"the URL has no valid length", "不合法的 URL 长度", srcJP,
		doLinkEn, doLinkZh,
	},
	{
		CallSend, 40048, "url_domain", FaultMessage,
		"not a valid URL or domain", "无效的 URL 或域名", srcJP,
		doLinkEn, doLinkZh,
	},
	{
		CallSend, 40066, "url_refused", FaultMessage,
		"the URL is refused", "不合法的 URL，页面已被拦截", srcJP,
		doLinkEn, doLinkZh,
	},
	{
		CallSend, 40068, "url_malicious", FaultMessage,
		"the content holds a malicious URL", "内容中含有恶意链接", srcJP,
		doLinkEn, doLinkZh,
	},
	{
		CallSend, 40141, "image_url_invalid", FaultMessage,
		"not a valid URL of an image", "图片链接不合法", srcJW,
		doLinkEn, doLinkZh,
	},
	{
		CallSend, 40191, "picurl_invalid", FaultMessage,
		"not a valid picurl", "pic_url 不合法", srcJW,
		doLinkEn, doLinkZh,
	},
	{
		CallSend, 44997, "image_url_too_long", FaultMessage,
		"the URL of the image is too long", "图片链接超过长度限制", srcJW,
		doLinkEn, doLinkZh,
	},
	{
		CallSend, 41010, "url_missing", FaultMessage,
		"the url is missing", "缺少 url 参数", srcJW,
		doProducerEn, doProducerZh,
	},
	{
		CallSend, 40155, "url_of_other_account", FaultMessage,
		"the message links to another account's page", "请勿添加其他公众号的主页链接", srcJP,
		doLinkEn, doLinkZh,
	},
	{
		CallSend, 40213, "href_tag_invalid", FaultMessage,
		"an <a> tag in the text is invalid", "文本中的 <a> 标签不合法", srcJ,
		doLinkEn, doLinkZh,
	},
	{
		CallSend, 40214, "href_text_invalid", FaultMessage,
		"the text of an <a> tag is invalid", "文本中 <a> 标签的文字不合法", srcJ,
		doLinkEn, doLinkZh,
	},
	{
		CallSend, 40073, "card_id_invalid", FaultMessage,
		"not a valid card id", "不合法的卡券 id", srcJ,
		doProducerEn, doProducerZh,
	},
	{
		CallSend, 41012, "card_id_missing", FaultMessage,
		"the card id is missing", "缺少卡券 id", srcJW,
		doProducerEn, doProducerZh,
	},
	{
		CallSend, 40080, "card_ext_invalid", FaultMessage,
		"not a valid card_ext", "不合法的 card_ext", srcJ,
		doProducerEn, doProducerZh,
	},
	{
		CallSend, 40165, "weapp_path_invalid", FaultMessage,
		"not a valid page path of the mini program", "小程序页面路径无效", srcJ,
		doWeappEn, doWeappZh,
	},
	{
		CallSend, 40166, "weapp_appid_invalid", FaultMessage,
		"not a valid appid of a mini program", "小程序 appid 无效", srcJ,
		doWeappEn, doWeappZh,
	},
	{
		CallSend, 40168, "weapp_not_linked", FaultMessage,
		"the mini program is not linked to the app", "小程序未与该公众号关联", srcJ,
		doWeappEn, doWeappZh,
	},
	{
		CallSend, 40173, "weapp_not_bound", FaultMessage,
		"there is no bind relation with the mini program", "与该小程序不存在绑定关系", srcJ,
		doWeappEn, doWeappZh,
	},
	{
		CallSend, 45064, "weapp_no_permission", FaultMessage,
		"no permission to use a mini program that is not linked",
		"包含未关联的小程序，没有使用权限", srcJP,
		doWeappEn, doWeappZh,
	},
	{
		CallSend, 45086, "weapp_link_invalid", FaultMessage,
		"the attribute data-miniprogram-appid of a link is invalid",
		"文本链接的 data-miniprogram-appid 属性不合法", srcJ,
		doWeappEn, doWeappZh,
	},
}
