// simdjson on-demand only reads frames of the book channel and of level 3: it visits every field in its order and keeps nothing.
// This is its best case: the frames are padded and in one buffer, so nothing has to be copied.

#include <simdjson.h>

namespace ondemand = simdjson::ondemand;

namespace {

// The length of a number's text is known from the structural index; `text` reads nothing but that.
simdjson::error_code number(ondemand::value value, bool text, uint64_t &sum) {
    if (text) {
        sum += value.raw_json_token().size();
        return simdjson::SUCCESS;
    }
    double number;
    if (auto error = value.get_double().get(number)) return error;
    sum += number >= 0;
    return simdjson::SUCCESS;
}

simdjson::error_code levels(ondemand::array array, bool text, uint64_t &entries, uint64_t &sum) {
    for (auto level : array) {
        ondemand::object object;
        ondemand::value price, qty;
        if (auto error = level.get_object().get(object)) return error;
        if (auto error = object.find_field("price").get(price)) return error;
        if (auto error = number(price, text, sum)) return error;
        if (auto error = object.find_field("qty").get(qty)) return error;
        if (auto error = number(qty, text, sum)) return error;
        ++entries;
    }
    return simdjson::SUCCESS;
}

simdjson::error_code book(ondemand::object object, bool, bool text, uint64_t *answer) {
    std::string_view symbol, timestamp;
    ondemand::array bids, asks;
    uint64_t checksum;
    if (auto error = object.find_field("symbol").get_string().get(symbol)) return error;
    if (auto error = object.find_field("bids").get_array().get(bids)) return error;
    if (auto error = levels(bids, text, answer[0], answer[2])) return error;
    if (auto error = object.find_field("asks").get_array().get(asks)) return error;
    if (auto error = levels(asks, text, answer[0], answer[2])) return error;
    if (auto error = object.find_field("checksum").get_uint64().get(checksum)) return error;
    answer[1] += checksum;
    if (auto error = object.find_field("timestamp").get_string().get(timestamp)) return error;
    answer[2] += symbol.size() + timestamp.size();
    return simdjson::SUCCESS;
}

simdjson::error_code orders(ondemand::array array, bool update, bool text, uint64_t *answer) {
    for (auto order : array) {
        ondemand::object object;
        ondemand::value price, qty;
        std::string_view event, id, timestamp;
        if (auto error = order.get_object().get(object)) return error;
        // Orders of a snapshot have no event.
        if (update) {
            if (auto error = object.find_field("event").get_string().get(event)) return error;
        }
        if (auto error = object.find_field("order_id").get_string().get(id)) return error;
        if (auto error = object.find_field("limit_price").get(price)) return error;
        if (auto error = number(price, text, answer[2])) return error;
        if (auto error = object.find_field("order_qty").get(qty)) return error;
        if (auto error = number(qty, text, answer[2])) return error;
        if (auto error = object.find_field("timestamp").get_string().get(timestamp)) return error;
        ++answer[0];
        answer[2] += event.size() + id.size() + timestamp.size();
    }
    return simdjson::SUCCESS;
}

simdjson::error_code level3(ondemand::object object, bool update, bool text, uint64_t *answer) {
    std::string_view symbol, timestamp;
    ondemand::array bids, asks;
    uint64_t checksum;
    if (auto error = object.find_field("checksum").get_uint64().get(checksum)) return error;
    answer[1] += checksum;
    if (auto error = object.find_field("symbol").get_string().get(symbol)) return error;
    if (auto error = object.find_field("timestamp").get_string().get(timestamp)) return error;
    if (auto error = object.find_field("bids").get_array().get(bids)) return error;
    if (auto error = orders(bids, update, text, answer)) return error;
    if (auto error = object.find_field("asks").get_array().get(asks)) return error;
    if (auto error = orders(asks, update, text, answer)) return error;
    answer[2] += symbol.size() + timestamp.size();
    return simdjson::SUCCESS;
}

// What all frames have around an element of their data, which `item` reads.
template <typename Item>
simdjson::error_code frame(
    ondemand::parser &parser, simdjson::padded_string_view json, bool text, uint64_t *answer, Item item
) {
    ondemand::document document;
    std::string_view channel, type;
    ondemand::array data;
    if (auto error = parser.iterate(json).get(document)) return error;
    if (auto error = document.find_field("channel").get_string().get(channel)) return error;
    if (auto error = document.find_field("type").get_string().get(type)) return error;
    answer[2] += channel.size() + type.size();
    bool update = type == "update";
    if (auto error = document.find_field("data").get_array().get(data)) return error;
    for (auto element : data) {
        ondemand::object object;
        if (auto error = element.get_object().get(object)) return error;
        if (auto error = item(object, update, text, answer)) return error;
    }
    return simdjson::SUCCESS;
}

}  // namespace

extern "C" {

size_t krakpot_simdjson_padding() { return simdjson::SIMDJSON_PADDING; }

// What this file was compiled for, and what the library chose for the first stage when it was loaded.
const char *krakpot_simdjson_instructions() {
    static const std::string name =
        std::string(SIMDJSON_STRINGIFY(SIMDJSON_BUILTIN_IMPLEMENTATION)) + ", " + simdjson::get_active_implementation()->name();
    return name.c_str();
}

void *krakpot_simdjson_new() { return new ondemand::parser; }
void krakpot_simdjson_free(void *parser) { delete static_cast<ondemand::parser *>(parser); }

// Reads the frames that end at `ends`, each followed by the padding: of level 3, or of the book channel. Adds to
// `answer`: entries, checksums, lengths of text. Returns how many frames were read before the first that could not be.
size_t krakpot_simdjson_read(
    void *parser, const char *at, const size_t *ends, size_t frames, bool orders, bool text, uint64_t *answer
) {
    size_t begin = 0;
    for (size_t i = 0; i < frames; ++i) {
        size_t length = ends[i] - begin;
        simdjson::padded_string_view json(at + begin, length, length + simdjson::SIMDJSON_PADDING);
        auto &one = *static_cast<ondemand::parser *>(parser);
        // Called by name, so that either is compiled into its loop.
        auto error = orders ? frame(one, json, text, answer, [](auto... of) { return level3(of...); })
                            : frame(one, json, text, answer, [](auto... of) { return book(of...); });
        if (error) return i;
        begin = ends[i] + simdjson::SIMDJSON_PADDING;
    }
    return frames;
}
}
