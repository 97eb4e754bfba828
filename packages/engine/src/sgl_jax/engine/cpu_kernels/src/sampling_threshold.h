// A row's logits by blocks, and the threshold that top-k, top-p and min-p make. Included like attention_vector.h, by
// the same kind of files.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "sampling.h"
#include "vector.h"

namespace sgl::sampling {
namespace {

constexpr int kBlock = 128;
constexpr float kNever = -std::numeric_limits<float>::infinity();

struct Token {
  float logit;
  int32_t id;
  // Likelier, or as likely and first.
  bool operator<(const Token& other) const {
    return logit > other.logit || (logit == other.logit && id < other.id);
  }
};

// Logits by blocks, the last of which is filled up.
struct Blocks {
  const float* logits;
  int64_t vocab, count;
  float tail[kBlock];
  std::vector<float> tops;  // largest of each block; NaN counts for nothing
  float top = kNever;

  Blocks(const float* logits, int64_t vocab) : logits(logits), vocab(vocab), count((vocab + kBlock - 1) / kBlock) {
    const int64_t rest = vocab % kBlock;
    std::fill(tail, tail + kBlock, kNever);
    std::copy(logits + vocab - rest, logits + vocab, tail);
    tops.resize(count);
    for (int64_t block = 0; block < count; ++block) {
      const float* x = at(block);
      Vec tops_of_lanes = all(kNever);
      for (int i = 0; i < kBlock; i += kLanes) tops_of_lanes = larger(load(x + i), tops_of_lanes);
      tops[block] = largest(tops_of_lanes);
      top = std::max(top, tops[block]);
    }
  }

  const float* at(int64_t block) const { return (block + 1) * kBlock <= vocab ? logits + block * kBlock : tail; }

  int size(int64_t block) const { return static_cast<int>(std::min<int64_t>(kBlock, vocab - block * kBlock)); }

  // The first of the likeliest.
  int32_t likeliest() const {
    for (int64_t block = 0; block < count; ++block) {
      if (tops[block] != top) continue;
      const float* x = at(block);
      for (int i = 0; i < size(block); ++i) {
        if (x[i] == top) return static_cast<int32_t>(block * kBlock + i);
      }
    }
    return 0;
  }

  // Sum of e^((logit - top) * inverse) over all tokens.
  double weight(float inverse) const {
    double total = 0;
    for (int64_t block = 0; block < count; ++block) {
      const float* x = at(block);
      Vec sums = {};
      for (int i = 0; i < kBlock; i += kLanes) sums += exp((load(x + i) - top) * inverse);
      total += sum(sums);
    }
    return total;
  }

  // The `width` likeliest tokens, in order.
  void find(int64_t width, std::vector<Token>& found) const {
    float enough = kNever;
    if (width < count) {  // as many blocks have a token that is at least this likely
      std::vector<float> ordered = tops;
      std::nth_element(ordered.begin(), ordered.begin() + (width - 1), ordered.end(), std::greater<float>());
      enough = ordered[width - 1];
    }
    found.clear();
    for (int64_t block = 0; block < count; ++block) {
      if (!(tops[block] >= enough)) continue;
      const float* x = at(block);
      for (int i = 0; i < size(block); i += kLanes) {
        for (uint32_t left = lanes_of(load(x + i) >= enough); left != 0; left &= left - 1) {
          const int lane = i + __builtin_ctz(left);
          if (lane < size(block)) found.push_back({x[lane], static_cast<int32_t>(block * kBlock + lane)});
        }
      }
    }
    width = std::min<int64_t>(width, static_cast<int64_t>(found.size()));
    if (width == 0) return;  // nothing is a number
    std::nth_element(found.begin(), found.begin() + (width - 1), found.end());
    found.resize(width);
    std::sort(found.begin(), found.end());
  }
};

// Likely tokens that are put in order, where these suffice.
constexpr int64_t kCandidates = 64;

// Where they do not: how many tokens there are of each likelihood, and what these weigh together. Only those where a
// filter ends are put in order.
struct Histogram {
  static constexpr int kBins = 2048;
  static constexpr float kBinsPerUnit = 32;  // of logarithms of weights; the last bin holds all that weighs nothing

  const Blocks& blocks;
  float inverse;  // of the temperature
  std::vector<int64_t> counts;
  std::vector<double> weights;

  Histogram(const Blocks& blocks, float inverse)
      : blocks(blocks), inverse(inverse), counts(kBins), weights(kBins) {
    each([&](int bin, float weight, float, int32_t) { ++counts[bin], weights[bin] += weight; });
  }

  // Calls see(bin, weight, logit, token) for all tokens that are numbers.
  template <class See>
  void each(const See& see) const {
    for (int64_t block = 0; block < blocks.count; ++block) {
      const float* x = blocks.at(block);
      const int size = blocks.size(block);
      for (int i = 0; i < size; i += kLanes) {
        const Vec logits = load(x + i), below = (logits - blocks.top) * inverse, weight = exp(below);
        for (int lane = 0; lane < kLanes && i + lane < size; ++lane) {
          const float place = -below[lane] * kBinsPerUnit;
          const int bin = place < kBins - 1 ? static_cast<int>(place) : kBins - 1;
          if (place == place) see(bin, weight[lane], x[i + lane], static_cast<int32_t>(block * kBlock + i + lane));
        }
      }
    }
  }

  // The tokens of a bin, in order.
  std::vector<Token> tokens_of(int wanted) const {
    std::vector<Token> found;
    found.reserve(counts[wanted]);
    each([&](int bin, float, float logit, int32_t token) {
      if (bin == wanted) found.push_back({logit, token});
    });
    std::sort(found.begin(), found.end());
    return found;
  }
};

// What tokens weigh against the likeliest one.
struct Weigh {
  float top, inverse;
  float one(const Token& token) const { return std::exp((token.logit - top) * inverse); }
  double all(const std::vector<Token>& tokens) const {
    double total = 0;
    for (const Token& token : tokens) total += one(token);
    return total;
  }
};

inline float lowest_of(const std::vector<Token>& tokens) { return tokens.empty() ? kNever : tokens.back().logit; }

// The token that ends the nucleus: the first one, in order, that makes it weigh `enough`. Null if none of these does.
const Token* end_of_nucleus(const std::vector<Token>& tokens, const Weigh& weigh, double before, double enough) {
  for (const Token& token : tokens) {
    before += weigh.one(token);
    if (before >= enough) return &token;
  }
  return nullptr;
}

// The lowest logit that top-k and top-p keep.
float lowest_kept(const Draw& how, const Blocks& blocks) {
  const bool is_limited = how.top_k > 0 && how.top_k < blocks.vocab, has_nucleus = how.top_p < 1;
  if (!is_limited && !has_nucleus) return kNever;
  const Weigh weigh{blocks.top, 1 / how.temperature};
  std::vector<Token> tokens;
  if (!is_limited || how.top_k <= kCandidates) {
    blocks.find(is_limited ? how.top_k : kCandidates, tokens);
    const double total = is_limited ? weigh.all(tokens) : blocks.weight(weigh.inverse);
    const Token* end = has_nucleus ? end_of_nucleus(tokens, weigh, 0, how.top_p * total) : nullptr;
    if (end != nullptr || is_limited) return end == nullptr ? lowest_of(tokens) : end->logit;
  }

  const Histogram bins(blocks, weigh.inverse);
  int last = Histogram::kBins - 1;  // where top-k ends
  if (is_limited) {
    int64_t left = how.top_k;
    for (last = 0; last < Histogram::kBins - 1 && bins.counts[last] < left; ++last) left -= bins.counts[last];
    tokens = bins.tokens_of(last);
    tokens.resize(std::min<size_t>(left, tokens.size()));
    if (!has_nucleus) return lowest_of(tokens);
  }
  double total = is_limited ? weigh.all(tokens) : bins.weights[last];
  for (int bin = 0; bin < last; ++bin) total += bins.weights[bin];
  double before = 0;
  int bin = 0;
  for (; bin < last && before + bins.weights[bin] < how.top_p * total; ++bin) before += bins.weights[bin];
  if (bin < last || !is_limited) tokens = bins.tokens_of(bin);
  const Token* end = end_of_nucleus(tokens, weigh, before, how.top_p * total);
  return end == nullptr ? lowest_of(tokens) : end->logit;
}

// The lowest logit that all filters keep.
float threshold(const Draw& how, const Blocks& blocks) {
  const float by_min_p = blocks.top + how.temperature * std::log(how.min_p);
  return std::max(std::min(by_min_p, blocks.top), lowest_kept(how, blocks));
}

}  // namespace
}  // namespace sgl::sampling
