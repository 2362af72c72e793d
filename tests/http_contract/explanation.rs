//! Prompt quality: what is said of prompts to those who ask.

use serde_json::{Value, json};

use crate::{
    CLASSIFY,
    http_support::{Service, red},
    ranked,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_is_given_to_those_who_ask() {
    let service = Service::ready().await;
    // "else" is unlike any picture, and "other" is the same.
    let body = |extra: Value| {
        let mut body = json!({ "image": red(), "prompts": ["red", "green", "else", "other"] });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body.to_string()
    };
    for without in [json!({}), json!({ "explain": false }), json!({ "explain": null })] {
        let answer = service.post_json(CLASSIFY, body(without)).await;
        assert_eq!(ranked(&answer)[0], "red");
        assert_eq!(answer.body.as_object().unwrap().len(), 3, "{}", answer.body);
    }
    let answer = service.post_json(CLASSIFY, body(json!({ "explain": true }))).await;
    let explanation = &answer.body["explanation"];
    assert_eq!(explanation["margin"]["winner"], "red");
    assert_eq!(explanation["margin"]["runner_up"], "green");
    assert!(explanation["margin"]["odds"].as_f64().unwrap() > 3.0);
    assert_eq!(explanation["near_duplicates"].as_array().unwrap().len(), 1);
    assert_eq!(explanation["near_duplicates"][0]["prompts"], json!(["else", "other"]));
    assert!(explanation["near_duplicates"][0]["cosine"].as_f64().unwrap() > 0.999);
    assert_eq!(explanation["warnings"].as_array().unwrap().len(), 1);
    assert_eq!(explanation["warnings"][0]["code"], "near_duplicates");
    assert!(explanation["warnings"][0]["message"].as_str().unwrap().contains("\"else\" and \"other\""));
    assert_eq!(explanation["templates"], json!([]));
    assert!(answer.body["classifications"][0]["cosine"].as_f64().unwrap() > 0.9);

    let wrong = service.post_json(CLASSIFY, body(json!({ "explain": "yes" }))).await;
    assert_eq!(wrong.is_error(400, "invalid_argument"), "'explain' must be true or false");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hides_everything_and_what_wins_barely_is_said() {
    let service = Service::ready().await;
    let ask = async |extra: Value| {
        let mut body = json!({ "image": red(), "prompts": ["green", "blue"], "explain": true });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        service.post_json(CLASSIFY, body.to_string()).await.body
    };
    let codes = |body: &Value| -> Vec<String> {
        let warnings = body["explanation"]["warnings"].as_array().unwrap();
        warnings.iter().map(|warning| warning["code"].as_str().unwrap().to_owned()).collect()
    };
    let unclear = ask(json!({})).await;
    assert_eq!(codes(&unclear), ["no_clear_winner"]);
    assert!((unclear["explanation"]["margin"]["odds"].as_f64().unwrap() - 1.0).abs() < 1e-6);
    let hidden = ask(json!({ "threshold": 0.9 })).await;
    assert_eq!(codes(&hidden), ["threshold_hides_all", "no_clear_winner"]);
    assert_eq!(hidden["classifications"], json!([]));
    let message = hidden["explanation"]["warnings"][0]["message"].as_str().unwrap();
    assert!(message.contains("the threshold 0.9 hides all 2 prompts"), "{message}");
    // top_k hides nothing that matters here, and is no threshold.
    assert_eq!(codes(&ask(json!({ "top_k": 1, "prompts": ["red", "blue"] })).await), [] as [&str; 0]);
    let one = ask(json!({ "prompts": ["blue"], "threshold": 0.5 })).await;
    assert_eq!(codes(&one), ["threshold_hides_all"]);
    assert_eq!(one["explanation"]["margin"], Value::Null);
    assert!(one["explanation"]["warnings"][0]["message"].as_str().unwrap().contains("a cosine"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_effect_of_templates_is_that_of_each_and_of_none() {
    let service = Service::ready().await;
    // A text is the colour that it begins with, so the second template makes all texts green.
    let body = json!({
        "image": red(), "prompts": ["red", "blue"], "explain": true, "templates": ["{} thing", "green {}"],
    });
    let answer = service.post_json(CLASSIFY, body.to_string()).await;
    let templates = answer.body["explanation"]["templates"].as_array().unwrap();
    let names: Vec<_> = templates.iter().map(|effect| effect["template"].as_str().unwrap()).collect();
    assert_eq!(names, ["{}", "{} thing", "green {}"]);
    assert_eq!((&templates[0]["winner"], &templates[1]["winner"]), (&json!("red"), &json!("red")));
    assert_eq!(templates[2]["margin"], Value::Null, "two prompts that mean the same have no rival");
    let cosines = templates[2]["cosines"].as_array().unwrap();
    assert_eq!((cosines.len(), &cosines[0]), (2, &cosines[1]));
}
